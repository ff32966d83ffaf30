#!/usr/bin/env bash
# pyarrow asks Amazon for a bucket although AWS_ENDPOINT_URL names another server, which boto3 asks in the same process
#
# Surprising: AWS_ENDPOINT_URL (and AWS_ENDPOINT_URL_S3) is the setting by which Amazon's own tools are pointed at a compatible server in one's own network. pyarrow's S3FileSystem
# reads the keys, the profile and the region from the variables beside it, but not this one: requests for the bucket go to amazonaws.com, signed with the keys of the other server.
# Who meets it: whoever keeps results on a local S3 server and reads them through pyarrow, pandas or a data set library on top of them; with boto3 the same
# environment works. The answer is "access denied" or no connection, which says nothing of the address. endpoint_override has to be given in code.
# Versions: pyarrow 25.0.1, boto3 1.44.8, botocore 1.44.8 (Python 3.11). Seen 2026-11-30 (a local proxy refuses every request, so that none leaves the machine):
#   boto3 asks: http://127.0.0.1:PORT
#   pyarrow asks: zobench-finding.s3.us-east-1.amazonaws.com
#   pyarrow with endpoint_override asks: 127.0.0.1:PORT
# Fails (exit 1) when one of these hosts changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "pyarrow==25.0.1" "boto3==1.44.8" "botocore==1.44.8"
cat > "$folder/try.py" <<'PY'
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

asked = []


class Proxy(BaseHTTPRequestHandler):
    """Notes where a client wants to go, and refuses."""

    def refuse(self):
        asked.append(self.path if self.command == "CONNECT" else self.headers["Host"])
        self.send_error(403)

    do_CONNECT = do_HEAD = do_GET = refuse

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = f"127.0.0.1:{server.server_port}"
os.environ.update(
    AWS_ENDPOINT_URL=f"http://{here}", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_EC2_METADATA_DISABLED="true"
)

import boto3
from pyarrow.fs import S3FileSystem


def host(**options):
    asked.clear()
    storage = S3FileSystem(region="us-east-1", proxy_options=f"http://{here}", **options)
    try:
        storage.get_file_info("zobench-finding/file")
    except OSError:  # the proxy's refusal
        return asked[0].removesuffix(":443")
    raise AssertionError("the proxy was passed by")


botos = boto3.client("s3", region_name="us-east-1").meta.endpoint_url
plain, told = host(), host(endpoint_override=here)
for who, where in (("boto3", botos), ("pyarrow", plain), ("pyarrow with endpoint_override", told)):
    print(f"{who} asks: {where.replace(str(server.server_port), 'PORT')}")
assert botos == f"http://{here}" and told == here, "the behaviour has changed"
assert plain == "zobench-finding.s3.us-east-1.amazonaws.com", "the behaviour has changed"
PY
"$folder/venv/bin/python" "$folder/try.py"
