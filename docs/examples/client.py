import json, subprocess

server = subprocess.Popen(["meanwhile", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def send(**message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    server.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    server.stdin.flush()

def receive():
    length = int(server.stdout.readline().split(b":")[1])
    server.stdout.readline()
    return json.loads(server.stdout.read(length))

send(id=1, method="initialize", params={"capabilities": {}})
send(method="initialized", params={})
send(id=2, method="task/spawn", params={"command": "sleep 1; echo built; exit 3"})
while (message := receive()).get("method") != "task/exited":
    print(message.get("method") or "reply %d" % message["id"])
notification = message["params"]["notification"]
print("task/exited", notification["task"]["exit"], notification["preview"]["head"])
send(id=3, method="shutdown")
send(method="exit")
