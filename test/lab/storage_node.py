"""A storage node as the assignment describes it: pyzmq and Protobuf, one process.

usage: storage_node.py FOLDER [--host H] [--store P] [--response P] [--request P]
                       [--pulls N] [--heartbeat MS]

It prints one line for each thing that it does; the tests read them.
"""
import argparse
import os

import messages_pb2
import zmq


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--store", type=int, default=5557)
    parser.add_argument("--response", type=int, default=5558)
    parser.add_argument("--request", type=int, default=5559)
    parser.add_argument("--pulls", type=int, default=1, help="PULL sockets to open")
    parser.add_argument("--heartbeat", type=int, default=0, help="ZMQ_HEARTBEAT_IVL in ms")
    return parser.parse_args()


def say(text):
    print(text, flush=True)


def main():
    args = arguments()
    os.makedirs(args.folder, exist_ok=True)
    context = zmq.Context()

    def connected(kind, port):
        socket = context.socket(kind)
        if args.heartbeat:
            socket.setsockopt(zmq.HEARTBEAT_IVL, args.heartbeat)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10000)  # else it is the interval
        socket.connect(f"tcp://{args.host}:{port}")
        return socket

    receivers = [connected(zmq.PULL, args.store) for _ in range(args.pulls)]
    sender = connected(zmq.PUSH, args.response)
    subscriber = connected(zmq.SUB, args.request)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"")

    poller = zmq.Poller()
    for socket in receivers + [subscriber]:
        poller.register(socket, zmq.POLLIN)
    say(f"listening folder={args.folder}")

    while True:
        ready = dict(poller.poll())
        for receiver in receivers:
            if receiver in ready:
                store(args.folder, receiver, sender)
        if subscriber in ready:
            answer(args.folder, subscriber, sender)


def store(folder, receiver, sender):
    message = receiver.recv_multipart()
    task = messages_pb2.storedata_request()
    task.ParseFromString(message[0])
    data = message[1]
    with open(os.path.join(folder, task.filename), "wb") as out:
        out.write(data)
    say(f"saved {task.filename} frames={len(message)} bytes={len(data)}")
    sender.send_string(task.filename)


def answer(folder, subscriber, sender):
    message = subscriber.recv_multipart()
    task = messages_pb2.getdata_request()
    task.ParseFromString(message[0])
    say(f"asked {task.filename} frames={len(message)}")
    try:
        with open(os.path.join(folder, task.filename), "rb") as chunk:
            sender.send_multipart([bytes(task.filename, "utf-8"), chunk.read()])
        say(f"sent {task.filename}")
    except (FileNotFoundError, IsADirectoryError):
        pass  # some other node has it, or none


if __name__ == "__main__":
    main()
