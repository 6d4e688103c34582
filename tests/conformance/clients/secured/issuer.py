"""An issuer of bearer tokens: issuer.py make FOLDER, or issuer.py serve FOLDER.

`make` leaves in the folder `jwks.json`, the key set of a first key, and `rotated.json`, that of a second; tokens NAME.jwt: a
good one of each key (`good`, `next`), a forged one, one that has expired, one for another audience, one that names no
algorithm, and one signed with the public key as a shared secret. `serve` answers any request with `served.json` of the
folder, which may be replaced, and prints its port.
"""

import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import subprocess
import sys
import time

folder = pathlib.Path(sys.argv[2])


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **options).stdout


def key(name):
    """A new key; its entry in a key set."""
    openssl("genrsa", "-out", folder / f"{name}.key", "2048")
    modulus = openssl("rsa", "-in", folder / f"{name}.key", "-noout", "-modulus", text=True).strip().split("=")[1]
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}


def sign(algorithm, by, message):
    if algorithm == "none":
        return b""
    if algorithm == "HS256":
        public = openssl("rsa", "-in", folder / f"{by}.key", "-pubout")
        return hmac.new(public, message, hashlib.sha256).digest()
    return openssl("dgst", "-sha256", "-sign", folder / f"{by}.key", input=message)


def token(name, by, kid=None, algorithm="RS256", **claims):
    now = int(time.time())
    claims = {"sub": "dave", "iss": "https://issuer", "aud": "kafka", "iat": now, "exp": now + 3600, **claims}
    header = {"alg": algorithm, "kid": kid or by}
    message = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
    (folder / f"{name}.jwt").write_text(message + "." + b64(sign(algorithm, by, message.encode())))


def make():
    first, second = key("issuer"), key("second")
    key("forger")
    (folder / "jwks.json").write_text(json.dumps({"keys": [first]}))
    (folder / "rotated.json").write_text(json.dumps({"keys": [second]}))
    now = int(time.time())
    token("good", "issuer")
    token("next", "second")
    token("forged", "forger", kid="issuer")
    token("expired", "issuer", iat=now - 7200, exp=now - 3600)
    token("audience", "issuer", aud="others")
    token("unsigned", "issuer", algorithm="none")
    token("shared", "issuer", algorithm="HS256")


class Keys(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (folder / "served.json").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if sys.argv[1] == "make":
    make()
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    print(server.server_address[1], flush=True)
    server.serve_forever()
