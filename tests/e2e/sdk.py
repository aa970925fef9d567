"""What programs do with the Docker SDK for Python, at the level that the first argument names.

Arguments: level, prefix of the names. DOCKER_HOST names the daemon. Every step checks what it gets; the first that is
wrong ends the script with its traceback.
"""

import io
import os
import socket
import sys
import tarfile
import threading
import time
import urllib.parse

import docker
import websocket

LEVEL, PREFIX = sys.argv[1], sys.argv[2]
IMAGE = "nanoserver"
PATIENCE = 60

client = docker.from_env(timeout=90)
api = client.api


def eventually(what, condition):
    """Waits until it is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)


def websocket_of(container, **options):
    """Attaches by WebSocket, which the SDK itself can do over TCP only."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(PATIENCE)
    stream.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    options = urllib.parse.urlencode({"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, **options})
    url = f"ws://localhost/v{api.api_version}/containers/{container.id}/attach/ws?{options}"
    return websocket.create_connection(url, socket=stream)


def start(suffix, command, **options):
    """A container that runs beside the script."""
    options.setdefault("isolation", LEVEL)
    return client.containers.run(IMAGE, command, name=f"{PREFIX}-{suffix}", detach=True, **options)


def system():
    assert client.ping()
    assert client.version()["ApiVersion"] and client.info()["OSType"] == "linux"
    assert client.df()["Images"]


def images():
    image = client.images.get(IMAGE)
    assert image.id in [other.id for other in client.images.list(name=IMAGE)]
    assert image.history()
    assert image.tag("sdk-" + PREFIX, "one")
    client.images.remove(f"sdk-{PREFIX}:one")
    try:
        client.images.get(f"sdk-{PREFIX}:one")
    except docker.errors.ImageNotFound:
        pass
    else:
        raise AssertionError("a removed name is still there")


def run():
    said = client.containers.run(IMAGE, ["echo", "hello"], remove=True, isolation=LEVEL)
    assert said == b"hello\n", said
    try:
        client.containers.run(IMAGE, ["sh", "-c", "echo no >&2; exit 3"], remove=True, isolation=LEVEL)
    except docker.errors.ContainerError as error:
        assert error.exit_status == 3 and error.stderr == b"no\n", error
    else:
        raise AssertionError("exit 3 raised nothing")
    try:
        client.containers.run("no-such-image-" + PREFIX, isolation=LEVEL)
    except (docker.errors.ImageNotFound, docker.errors.APIError):
        pass
    else:
        raise AssertionError("an image that does not exist ran")


def life(container):
    assert container.status in ("created", "running")
    container.reload()
    assert container.status == "running" and container.attrs["HostConfig"]["Isolation"] == LEVEL
    assert container in client.containers.list(filters={"label": "sdk=" + PREFIX})
    assert any("sleep" in " ".join(row) for row in container.top()["Processes"])
    assert container.stats(stream=False)["memory_stats"]["usage"] > 0
    stream = container.stats(decode=True)
    assert next(stream)["read"] and next(stream)["read"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename(container.name + "-renamed")
    container.update(mem_limit="200m", memswap_limit="200m")
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 200 << 20


def exec_(container):
    code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert (code, out, err) == (4, b"out\n", b"err\n"), (code, out, err)
    code, out = container.exec_run("pwd", workdir="/tmp", environment={"A": "b"}, user="nobody")
    assert (code, out) == (0, b"/tmp\n"), (code, out)
    assert b"".join(container.exec_run("seq 3", stream=True).output) == b"1\n2\n3\n"
    code, hijacked = container.exec_run("cat", stdin=True, socket=True)
    hijacked._sock.sendall(b"echoed\n")
    hijacked._sock.shutdown(socket.SHUT_WR)
    seen = b"".join(iter(lambda: hijacked.read(4096), b""))
    assert seen.endswith(b"echoed\n"), seen


def files(container):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("sent")
        entry.size, entry.mode, entry.mtime = 5, 0o640, 1_000_000_000
        archive.addfile(entry, io.BytesIO(b"bytes"))
    assert container.put_archive("/tmp", packed.getvalue())
    pieces, stat = container.get_archive("/tmp/sent")
    assert (stat["name"], stat["size"]) == ("sent", 5), stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        entry = archive.getmember("sent")
        assert (entry.mode, entry.mtime, archive.extractfile(entry).read()) == (0o640, 1_000_000_000, b"bytes")
    assert {"Path": "/tmp/sent", "Kind": 1} in container.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as archive:
        assert "tmp/sent" in archive.getnames()


def streams():
    """Both ways of attaching: a hijacked connection and a WebSocket."""
    script = "echo ready; while read line; do echo \"out $line\"; echo \"err $line\" >&2; done; exit 6"
    container = start("streams", ["sh", "-c", script], stdin_open=True)
    eventually("the first output", lambda: container.logs() == b"ready\n")
    assert container.logs(stdout=True, stderr=False, timestamps=True, tail=1).endswith(b"Z ready\n")
    hijacked = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    hijacked._sock.sendall(b"one\n")
    eventually("the answer to a hijacked line", lambda: b"err one\n" in container.logs())
    hijacked.close()
    web = websocket_of(container, logs=1)
    seen = b""
    while seen.count(b"\n") < 3:
        seen += web.recv()
    assert seen.startswith(b"ready\n") and b"out one\n" in seen and b"err one\n" in seen, seen
    web.send_binary(b"two\n")
    seen = b""
    while seen.count(b"\n") < 2:
        seen += web.recv()
    # Raw, both streams in one.
    assert sorted(seen.split()) == [b"err", b"out", b"two", b"two"], seen
    # A WebSocket that closes leaves the container, whose input stays open for the next (StdinOnce is not set).
    web.close()
    assert container.logs(stream=True, follow=False)
    follower = container.logs(stream=True, follow=True)
    container.kill("KILL")
    assert b"".join(follower).startswith(b"ready\n")
    assert container.wait()["StatusCode"] == 137
    container.remove()


def terminal():
    container = start("terminal", ["sh"], stdin_open=True, tty=True)
    web = websocket_of(container)
    container.resize(40, 120)
    web.send("stty size; exit 7\n")
    seen = b""
    while b"40 120\r\n" not in seen:
        seen += web.recv()
    assert container.wait()["StatusCode"] == 7
    # The end of output is a close frame.
    while True:
        opcode, _ = web.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            break
    container.remove()


def networks():
    network = client.networks.create(f"{PREFIX}-net", driver="bridge", labels={"sdk": PREFIX})
    try:
        peer = start("peer", ["sleep", "600"])
        network.connect(peer, aliases=["alias"])
        network.reload()
        assert [other.name for other in network.containers] == [peer.name]
        said = client.containers.run(
            IMAGE, ["ping", "-c", "1", "-W", "20", "alias"], remove=True, isolation=LEVEL, network=network.name
        )
        assert b"1 packets received" in said, said
        network.disconnect(peer)
        peer.remove(force=True)
    finally:
        network.remove()


def volumes():
    volume = client.volumes.create(f"{PREFIX}-volume", labels={"sdk": PREFIX})
    mounts = {volume.name: {"bind": "/data", "mode": "rw"}}
    client.containers.run(IMAGE, "touch /data/kept", remove=True, isolation=LEVEL, volumes=mounts)
    mounts = [docker.types.Mount("/other", volume.name, read_only=True)]
    said = client.containers.run(IMAGE, "ls /other", remove=True, isolation=LEVEL, mounts=mounts)
    assert said == b"kept\n", said
    assert volume in client.volumes.list(filters={"label": "sdk=" + PREFIX})
    volume.remove()


def events():
    """A stream opened before sees what happens; one with `until` in the past ends."""
    began = time.time()
    stream = client.events(decode=True, filters={"label": "sdk=" + PREFIX, "type": "container"})
    seen = []

    def collect():
        for event in stream:
            seen.append(event["Action"])

    reader = threading.Thread(target=collect)
    reader.start()
    container = start("events", ["true"], labels={"sdk": PREFIX})
    container.wait()
    eventually("die", lambda: "die" in seen)
    container.remove()
    eventually("destroy", lambda: "destroy" in seen)
    stream.close()
    reader.join(PATIENCE)
    assert seen[:2] == ["create", "start"], seen
    past = client.events(
        decode=True, since=int(began), until=int(time.time()) + 1, filters={"container": container.id}
    )
    assert [event["Action"] for event in past] == seen


def prune():
    container = start("prune", ["true"], labels={"prune": PREFIX})
    container.wait()
    eventually("stopped", lambda: client.containers.get(container.id).status == "exited")
    gone = client.containers.prune(filters={"label": "prune=" + PREFIX})
    assert gone["ContainersDeleted"] == [container.id], gone


system()
images()
run()
long = start("long", ["sleep", "600"], labels={"sdk": PREFIX})
life(long)
exec_(long)
files(long)
long.restart(timeout=0)
long.stop(timeout=0)
assert long.wait()["StatusCode"] == 137
long.remove(v=True)
streams()
terminal()
networks()
volumes()
events()
prune()
print("all is well")
