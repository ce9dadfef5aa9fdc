"""What the public SDK wechatpy makes of the daemon's callback and of the sandbox.

Arguments: callback URL, sandbox URL, appid, secret, token, AES key. It signs, encrypts and posts
events to the callback; then it is a server that the sandbox posts events to, and reads them.
"""

import json
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

from wechatpy import WeChatClient, parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.utils import WeChatSigner, check_signature

callback, sandbox, appid, secret, token, key = sys.argv[1:7]


def signature(*parts):
    signer = WeChatSigner()
    signer.add_data(token, *parts)
    return signer.signature


def call(url, body=None, kind="text/xml"):
    data = body.encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers={"content-type": kind})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def address(now, nonce, **more):
    query = {"signature": signature(now, nonce), "timestamp": now, "nonce": nonce, **more}
    return f"{callback}?{urllib.parse.urlencode(query)}"


def event(openid, name, at):
    return (
        f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[{openid}]]>"
        f"</FromUserName><CreateTime>{at}</CreateTime><MsgType><![CDATA[event]]></MsgType>"
        f"<Event><![CDATA[{name}]]></Event><EventKey></EventKey></xml>"
    )


# The check of the address, and a plain event.
now = str(int(time.time()))
assert call(address(now, "n1", echostr="hello")) == (200, "hello")
assert call(address(now, "n2"), event("oPlain", "unsubscribe", now)) == (200, "success")
status, _ = call(address(now, "n2").replace("signature=", "signature=0"), event("oX", "subscribe", now))
assert status == 403, status

# An encrypted one, as the SDK encrypts.
crypto = WeChatCrypto(token, key, appid)
sealed = crypto.encrypt_message(event("oSealed", "unsubscribe", now), "n3", now)
encrypted = sealed.split("<Encrypt><![CDATA[")[1].split("]]>")[0]
where = address(now, "n3", encrypt_type="aes", msg_signature=signature(now, "n3", encrypted))
assert call(where, sealed) == (200, "success")

# The sandbox posts, the SDK reads.
heard = []


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        check_signature(token, query["signature"], query["timestamp"], query["nonce"])
        if "msg_signature" in query:
            body = WeChatCrypto(token, key, appid).decrypt_message(
                body, query["msg_signature"], query["timestamp"], query["nonce"]
            )
        heard.append(parse_message(body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"success")

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()


class Client(WeChatClient):
    API_BASE_URL = f"{sandbox}/cgi-bin/"

    def fetch_access_token(self):
        params = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(url=f"{sandbox}/cgi-bin/token", params=params)


client = Client(appid, secret)
followers = client.user.get_followers()
person = followers["data"]["openid"][0]
values = {"thing1": {"value": "Boiler check"}, "time2": {"value": "2026-11-23 09:00"}}
template = "TEMPLATE_NEW_TASK_0000000000000000000000000"

for mode in ["plain", "compatible", "secure"]:
    where = {"appid": appid, "url": f"http://127.0.0.1:{server.server_port}/", "token": token,
             "encoding_aes_key": key, "mode": mode, "format": "xml"}
    status, said = call(f"{sandbox}/_sandbox/callback", json.dumps(where))
    assert status == 200, said
    before = len(heard)
    sent = client.message.send_template(person, template, values)
    call(f"{sandbox}/_sandbox/followers", json.dumps({"appid": appid, "unfollow": [person]}))
    call(f"{sandbox}/_sandbox/followers", json.dumps({"appid": appid, "follow": [person]}))
    until = time.time() + 10
    while len(heard) < before + 3 and time.time() < until:
        time.sleep(0.02)
    new = {message.event: message for message in heard[before:]}
    assert set(new) == {"templatesendjobfinish", "unsubscribe", "subscribe"}, (mode, new)
    receipt = new["templatesendjobfinish"]
    assert receipt.source == person and receipt.status == "success", receipt
    assert str(receipt.id) == str(sent["msgid"]), (receipt.id, sent)

print("ok")
