"""A libzmq socket that counts: the other end of libzmq_test.go.

usage: peer.py TYPE bind|connect ADDRESS COUNT SIZES [OPTION=VALUE ...]

Message i is the frames [number i as text] [body], the body being i as eight
bytes, big endian, over and over, cut to the next one of SIZES. PUSH and PUB
send COUNT of them and stay until standard input ends; PULL and SUB receive and
compare COUNT. All then print OK. A binding socket first prints its port. A PUB sends the single frame "probe" until a line comes
on standard input. COUNT 0: stay connected and silent until standard input ends.
"""

import select
import struct
import sys

import zmq

kind, how, address, count, sizes = sys.argv[1:6]
count, sizes = int(count), [int(s) for s in sizes.split(",")]

context = zmq.Context()
sock = context.socket(getattr(zmq, kind))
sock.setsockopt(zmq.SNDHWM, 1000 if kind == "PUSH" else 0)
sock.setsockopt(zmq.RCVHWM, 1000)
sock.setsockopt(zmq.LINGER, -1)
for option in sys.argv[6:]:
    name, value = option.split("=")
    sock.setsockopt(getattr(zmq, name), int(value))
if kind == "SUB":
    sock.setsockopt(zmq.SUBSCRIBE, b"")
if how == "bind":
    print(sock.bind_to_random_port("tcp://127.0.0.1"), flush=True)
else:
    sock.connect("tcp://" + address)


def body(i):
    size = sizes[i % len(sizes)]
    return (struct.pack(">Q", i) * (size // 8 + 1))[:size]


if count == 0:
    sys.stdin.read()
    context.destroy(0)
    sys.exit(0)

if kind in ("PUSH", "PUB"):
    while kind == "PUB" and not select.select([sys.stdin], [], [], 0.01)[0]:
        sock.send(b"probe")
    for i in range(count):
        sock.send_multipart([b"%d" % i, body(i)], copy=False)
    # To close with a PONG unread would reset the connection, and what the
    # other end has not read yet would be lost.
    sys.stdin.read()
    sock.close()
    context.term()
else:
    for i in range(count):
        frames = sock.recv_multipart()
        if frames != [b"%d" % i, body(i)]:
            sys.exit("message %d arrived as %d frames: %r" % (i, len(frames), [f[:40] for f in frames]))
    sock.close(0)
    context.term()
print("OK")
