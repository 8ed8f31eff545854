"""The controller as the assignment describes it, with the same REST calls.

The assignment uses Flask; this one needs the standard library's http.server
alone, and handles one request at a time, as the assignment's does.

usage: rest_server.py DATABASE [--http P] [--store P] [--response P] [--request P] [--heartbeat MS]
"""
import argparse
import base64
import json
import math
import os
import random
import sqlite3
import string
from http.server import BaseHTTPRequestHandler, HTTPServer

import messages_pb2
import zmq

PATIENCE_MS = 5000  # the assignment waits forever; a test wants to end


def random_string(length):
    return "".join(random.SystemRandom().choice(string.ascii_letters + string.digits) for _ in range(length))


def say(text):
    print(text, flush=True)


class Array:
    """The three sockets towards the storage nodes, and the table of files."""

    def __init__(self, args):
        context = zmq.Context()

        def bound(kind, port):
            socket = context.socket(kind)
            if args.heartbeat:
                socket.setsockopt(zmq.HEARTBEAT_IVL, args.heartbeat)
                socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10000)  # else it is the interval
            socket.bind(f"tcp://127.0.0.1:{port}")
            return socket

        self.send_task = bound(zmq.PUSH, args.store)
        self.response = bound(zmq.PULL, args.response)
        self.response.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.data_request = bound(zmq.PUB, args.request)
        self.db = sqlite3.connect(args.database)
        self.db.row_factory = sqlite3.Row
        if not self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'file'").fetchone():
            with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "create_table.sql")) as sql:
                self.db.executescript(sql.read())

    def add(self, filename, content_type, data):
        half = math.ceil(len(data) / 2.0)
        parts = [data[:half], data[half:]]
        names = [[random_string(8), random_string(8)] for _ in parts]
        for part, copies in zip(parts, names):
            for name in copies:
                task = messages_pb2.storedata_request()
                task.filename = name
                self.send_task.send_multipart([task.SerializeToString(), part])
        for _ in range(4):
            say(f"received {self.response.recv_string()}")
        cursor = self.db.execute(
            "INSERT INTO `file`(`filename`, `size`, `content_type`, `part1_filenames`, `part2_filenames`)"
            " VALUES (?, ?, ?, ?, ?)",
            (filename, len(data), content_type, ",".join(names[0]), ",".join(names[1])),
        )
        self.db.commit()
        return cursor.lastrowid

    def get(self, record):
        wanted = [random.choice(record[column].split(",")) for column in ("part1_filenames", "part2_filenames")]
        for name in wanted:
            task = messages_pb2.getdata_request()
            task.filename = name
            self.data_request.send(task.SerializeToString())
        parts = {}
        while len(parts) < 2:
            frames = self.response.recv_multipart()
            parts[frames[0].decode("utf-8")] = frames[1]
            say(f"received {frames[0].decode('utf-8')} frames={len(frames)}")
        return parts[wanted[0]] + parts[wanted[1]]

    def record(self, file_id):
        return self.db.execute("SELECT * FROM `file` WHERE `id` = ?", (file_id,)).fetchone()


class Handler(BaseHTTPRequestHandler):
    array = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, content_type="application/json"):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def found(self):
        words = self.path.strip("/").split("/")
        record = self.array.record(words[1]) if len(words) > 1 and words[0] == "files" else None
        if record is None:
            self.answer(404, {"message": "File not found"})
        return record

    def do_POST(self):
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        data = base64.b64decode(payload["contents_b64"])
        try:
            self.answer(201, {"id": self.array.add(payload["filename"], payload["content_type"], data)})
        except zmq.Again:
            self.answer(504, {"message": "The storage nodes did not answer"})

    def do_GET(self):
        if self.path == "/files":
            rows = self.array.db.execute("SELECT * FROM `file`").fetchall()
            return self.answer(200, {"files": [dict(row) for row in rows]})
        record = self.found()
        if record is None:
            return None
        if self.path.endswith("/info"):
            return self.answer(200, dict(record))
        try:
            return self.answer(200, self.array.get(record), record["content_type"])
        except zmq.Again:
            return self.answer(504, {"message": "The storage nodes did not answer"})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--http", type=int, default=9000)
    parser.add_argument("--store", type=int, default=5557)
    parser.add_argument("--response", type=int, default=5558)
    parser.add_argument("--request", type=int, default=5559)
    parser.add_argument("--heartbeat", type=int, default=0, help="ZMQ_HEARTBEAT_IVL in ms")
    args = parser.parse_args()
    Handler.array = Array(args)
    say("listening")
    HTTPServer(("127.0.0.1", args.http), Handler).serve_forever()


if __name__ == "__main__":
    main()
