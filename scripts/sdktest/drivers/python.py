"""Sends what WeChat SDKs for Python send, by the HTTP client that they use.

It reads one JSON object a line from stdin, and answers each with one on stdout:
{"id"} and, if the SDK's user gets an error, {"error"}. What an SDK sends, how long it
keeps a token and how often it repeats a call are in the "wire" of "open".
"""

import json
import sys
import time
import urllib.parse

import requests

REJECTED = (40001, 40014, 42001)


class WeChatError(Exception):
    pass


def checked(answer):
    if answer.get("errcode"):
        raise WeChatError("%s %s" % (answer["errcode"], answer["errmsg"]))
    return answer


class Client:
    def __init__(self, opened):
        self.base, self.appid, self.secret = opened["base"], opened["appid"], opened["secret"]
        self.wire = opened["wire"]
        self.http = requests.Session()
        self.kept, self.until = None, 0

    def get(self, path):
        return self.http.get(self.base + path, timeout=20).json()

    def fetch(self):
        secret = urllib.parse.quote(self.secret, safe="") if self.wire.get("escape") else self.secret
        query = self.wire["query"].replace("{appid}", self.appid).replace("{secret}", secret)
        if self.wire.get("old") and self.kept:
            query += "&access_token=" + self.kept
        answer = checked(self.get("/cgi-bin/token?" + query))
        self.kept = answer["access_token"]
        self.until = time.time() + answer["expires_in"] - self.wire.get("margin", 0)

    def token(self):
        if not self.kept or time.time() >= self.until:
            self.fetch()
        return self.kept

    def call(self, repeated=0):
        answer = self.get("/cgi-bin/getcallbackip?access_token=" + self.token())
        retries = self.wire.get("retries", 0)
        if answer.get("errcode") in REJECTED and (retries < 0 or repeated < retries):
            self.fetch()
            return self.call(repeated + 1)
        return checked(answer)

    def login(self, code):
        query = {"appid": self.appid, "secret": self.secret, "js_code": code, "grant_type": "authorization_code"}
        return checked(self.get("/sns/jscode2session?" + urllib.parse.urlencode(query)))


clients = {}
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"]}
    try:
        if request["op"] == "open":
            clients[request["session"]] = Client(request)
        elif request["op"] == "login":
            clients[request["session"]].login(request["code"])
        else:
            getattr(clients[request["session"]], request["op"])()
    except Exception as err:
        answer["error"] = "%s: %s" % (type(err).__name__, err)
    print(json.dumps(answer), flush=True)
