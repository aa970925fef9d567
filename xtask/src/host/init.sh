#!/bin/sh
# The first process of the test host. It makes a host with control groups of version 2 alone, runs the table with its
# output on one port of the VM, puts the exit status on the other, and powers the VM off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

mount -t proc proc /proc 2>/dev/null
mount -t sysfs sysfs /sys 2>/dev/null
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mountpoint -q /dev/pts || mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
# As a service manager leaves it, so that propagation means what it means elsewhere.
mount --make-rshared /
ln -sf /proc/mounts /etc/mtab
# Devices whose modules are loaded when they are opened, such as /dev/net/tun.
kmod static-nodes --format=devname | sed -n 's/^[^# ]* \([^ ]*\) \([bc]\)\([0-9]*\):\([0-9]*\)$/\1 \2 \3 \4/p' |
	while read -r node kind major minor; do
		mkdir -p "$(dirname "/dev/$node")"
		mknod -m 600 "/dev/$node" "$kind" "$major" "$minor" 2>/dev/null
	done
hostname testhost
ip link set lo up
# What systemd gives a service. A host whose hard limits are as low as the kernel's own would do, too.
ulimit -Hn 524288
# KVM is only there when it is asked for: the emulated processor always has the instructions.
case " $(cat /proc/cmdline) " in
*" testhost=kvm "*) modprobe kvm_amd 2>/dev/null || modprobe kvm_intel ;;
esac

# The port of this name; they appear some time after their driver.
port() {
	for _ in $(seq 100); do
		grep -l -x "$1" /sys/class/virtio-ports/*/name 2>/dev/null | sed 's|.*/\(vport[^/]*\)/name|/dev/\1|' | grep . && return
		sleep 0.1
	done
}
modprobe virtio_console
output=$(port output) status=$(port status)
cd /build && ./run </dev/null >"$output" 2>&1
echo "$?" >"$status"
sync
echo o >/proc/sysrq-trigger
# The kernel powers off in a moment; its first process must not end before.
sleep 1000
