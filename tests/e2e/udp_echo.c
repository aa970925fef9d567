/* Sends every datagram that comes to port 5300 back. */
#include <arpa/inet.h>
#include <sys/socket.h>

int main(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(5300)}, from;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&own, sizeof own)) return 1;
    for (;;) {
        char data[1500];
        socklen_t length = sizeof from;
        ssize_t count = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &length);
        if (count >= 0) sendto(fd, data, count, 0, (struct sockaddr *)&from, length);
    }
}
