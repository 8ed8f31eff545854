"""A controller as the assignment describes it, for the tests of our nodes.

usage: lab_controller.py STORE_PORT RESPONSE_PORT REQUEST_PORT NODES FILES [option ...]

messages_pb2, generated from messages.proto, must be on PYTHONPATH. It binds PUSH,
PULL and PUB, waits until NODES nodes are there (the lab text sleeps a second),
and then for each of FILES files of random bytes does what the lab's upload and
download do: it cuts the file in half, sends both halves twice under random names,
waits for four acknowledgements, asks for one name of each half and compares what
comes back. It prints "ok FILES" at the end and exits 1 at the first difference.

Options: heartbeat=MS sets ZMQ_HEARTBEAT_IVL, size=N is the largest file in bytes,
missing first asks for a chunk that nobody has.
"""
import math
import os
import random
import string
import sys
import time

import zmq

import messages_pb2

store_port, response_port, request_port = sys.argv[1:4]
nodes, files = int(sys.argv[4]), int(sys.argv[5])
options = dict(a.partition("=")[::2] for a in sys.argv[6:])
size = int(options.get("size", "100000"))
context = zmq.Context()


def bind(kind, port):
    s = context.socket(kind)
    s.setsockopt(zmq.LINGER, 0)
    s.setsockopt(zmq.RCVTIMEO, 20000)
    if "heartbeat" in options:
        s.setsockopt(zmq.HEARTBEAT_IVL, int(options["heartbeat"]))
        s.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10000)
    return s


def fail(*words):
    print("fail", *words, flush=True)
    sys.exit(1)


def random_string(length):
    return "".join(random.choice(string.ascii_letters + string.digits) for _ in range(length))


send_task = bind(zmq.PUSH, store_port)
response = bind(zmq.PULL, response_port)
data_req = bind(zmq.PUB, request_port)
# Counting who connects is what the lab's sleep stands for. No load may start
# before all are there: PUSH would give one node everything.
monitors = [s.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) for s in (send_task, response, data_req)]
for s, port in ((send_task, store_port), (response, response_port), (data_req, request_port)):
    s.bind("tcp://127.0.0.1:" + port)
print("bound", flush=True)
for m in monitors:
    for _ in range(nodes):
        if not m.poll(20000):
            fail("nodes did not connect")
        m.recv_multipart()
time.sleep(0.3)  # for the subscriptions


def store(name, data):
    task = messages_pb2.storedata_request()
    task.filename = name
    send_task.send_multipart([task.SerializeToString(), data])


def ask(name):
    task = messages_pb2.getdata_request()
    task.filename = name
    data_req.send(task.SerializeToString())


if "missing" in options:
    ask(random_string(8))

for _ in range(files):
    data = os.urandom(random.randint(0, size))
    half = math.ceil(len(data) / 2.0)
    names = [random_string(8) for _ in range(4)]
    parts = {names[0]: data[:half], names[1]: data[:half], names[2]: data[half:], names[3]: data[half:]}
    for name, part in parts.items():
        store(name, part)
    waiting = set(names)
    while waiting:
        frames = response.recv_multipart()
        if len(frames) != 1 or frames[0].decode() not in waiting:
            fail("acknowledgement", len(frames), frames[0])
        waiting.remove(frames[0].decode())
    wanted = {random.choice(names[:2]), random.choice(names[2:])}
    for name in wanted:
        ask(name)
    while wanted:
        frames = response.recv_multipart()
        name = frames[0].decode()
        if len(frames) != 2 or name not in wanted:
            fail("data", len(frames), frames[0])
        if frames[1] != parts[name]:
            fail("different bytes", name)
        wanted.remove(name)
print("ok", files, flush=True)
