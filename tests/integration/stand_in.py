"""A stand-in for a daemon's admin listener: answers that a daemon seldom gives."""

import http.server
import json
import threading


class StandIn(http.server.ThreadingHTTPServer):
    """Answers each path with (status, body); what came is in requests."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.answers, self.requests = {}, []
        self.admin = '127.0.0.1:%d' % self.server_port
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.server.requests.append((self.path, body))
        status, text = self.server.answers.get(self.path, (404, 'no such resource\n'))
        data = (text if isinstance(text, str) else json.dumps(text)).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass
