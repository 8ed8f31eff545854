"""A storage node as the assignment describes it, for the tests of our controller.

usage: lab_node.py FOLDER STORE_PORT RESPONSE_PORT REQUEST_PORT [option ...]

messages_pb2, generated from messages.proto, must be on PYTHONPATH. It stores
chunks in FOLDER, exactly as the lab text has it: PULL for store requests, PUSH
for responses, SUB for get requests. It prints "ready" once connected, and one
line for each thing it does.

Options, for the tests: heartbeat=MS sets ZMQ_HEARTBEAT_IVL on every socket,
pulls=N opens N PULL sockets, corrupt answers gets with one byte changed.
"""
import os
import sys

import zmq

import messages_pb2

folder, store_port, response_port, request_port = sys.argv[1:5]
options = dict(a.partition("=")[::2] for a in sys.argv[5:])
os.makedirs(folder, exist_ok=True)
context = zmq.Context()


def connect(kind, port):
    s = context.socket(kind)
    s.setsockopt(zmq.LINGER, 0)
    if "heartbeat" in options:
        s.setsockopt(zmq.HEARTBEAT_IVL, int(options["heartbeat"]))
        s.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10000)
    if kind == zmq.SUB:
        s.setsockopt(zmq.SUBSCRIBE, b"")
    s.connect("tcp://localhost:" + port)
    return s


receivers = [connect(zmq.PULL, store_port) for _ in range(int(options.get("pulls", "1")))]
sender = connect(zmq.PUSH, response_port)
subscriber = connect(zmq.SUB, request_port)

poller = zmq.Poller()
for r in receivers:
    poller.register(r, zmq.POLLIN)
poller.register(subscriber, zmq.POLLIN)
print("ready", flush=True)

while True:
    socks = dict(poller.poll())
    for number, r in enumerate(receivers):
        if r not in socks:
            continue
        frames = r.recv_multipart()
        task = messages_pb2.storedata_request()
        task.ParseFromString(frames[0])
        if len(frames) != 2:
            print("bad store", len(frames), flush=True)
            continue
        with open(os.path.join(folder, task.filename), "wb") as f:
            f.write(frames[1])
        print("stored", task.filename, len(frames[1]), number, flush=True)
        sender.send_string(task.filename)
    if subscriber in socks:
        task = messages_pb2.getdata_request()
        task.ParseFromString(subscriber.recv())
        try:
            with open(os.path.join(folder, task.filename), "rb") as f:
                data = f.read()
        except FileNotFoundError:
            continue
        if "corrupt" in options:
            data = bytes([data[0] ^ 1]) + data[1:]
        print("sent", task.filename, len(data), flush=True)
        sender.send_multipart([task.filename.encode("utf-8"), data])
