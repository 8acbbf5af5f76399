"""Checks what servers do not check: that every tool call in a history is answered in the very next message.

`wrong(body)` returns the problems of a request in any wire format; the list is empty if there are none.
"""


def messages(body):
    """The messages of a request. Items of the Responses API become messages of chat completions; consecutive
    items of the model become one message."""
    if "input" not in body:
        return body["messages"]
    found = []
    for item in body["input"]:
        kind = item["type"]
        if kind == "function_call_output":
            found.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
            continue
        texts = [part["text"] for part in item.get("content") or [] if "text" in part]
        if kind == "message" and item["role"] != "assistant":
            found.append({"role": item["role"], "content": "".join(texts)})
            continue
        if not found or found[-1]["role"] != "assistant":
            found.append({"role": "assistant", "content": "", "tool_calls": []})
        if kind == "function_call":
            found[-1]["tool_calls"].append({"id": item["call_id"]})
        found[-1]["content"] += "".join(texts)
    return found


def wrong(body):
    said = messages(body)
    found = openai(said) if is_openai(said) else anthropic(said)
    if said and said[-1]["role"] == "assistant":
        found.append("the last message is the model's: there is nothing to answer")
    return found


def is_openai(messages):
    return any(message["role"] in ("system", "tool") or "tool_calls" in message for message in messages)


def blocks(message, kind):
    content = message["content"]
    return [] if isinstance(content, str) else [block for block in content if block["type"] == kind]


def anthropic(messages):
    found, open_ids, seen = [], [], set()
    for number, message in enumerate(messages):
        results = [block["tool_use_id"] for block in blocks(message, "tool_result")]
        if sorted(results) != sorted(open_ids):
            found.append(f"message {number} answers {results}, called were {open_ids}")
        if results and message["role"] != "user":
            found.append(f"message {number} answers as {message['role']}")
        first = [block["type"] for block in message["content"][: len(results)]] if results else []
        if any(kind != "tool_result" for kind in first):
            found.append(f"message {number} has something before its results")
        open_ids = [block["id"] for block in blocks(message, "tool_use")]
        if open_ids and message["role"] != "assistant":
            found.append(f"message {number} calls as {message['role']}")
        found += repeats(number, open_ids, seen)
    return found + unanswered(open_ids)


def openai(messages):
    found, open_ids, seen = [], [], set()
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_ids:
                found.append(f"message {number} answers {message['tool_call_id']}, open were {open_ids}")
            else:
                open_ids.remove(message["tool_call_id"])
            continue
        found += unanswered(open_ids)
        open_ids = [call["id"] for call in message.get("tool_calls", [])]
        found += repeats(number, open_ids, seen)
    return found + unanswered(open_ids)


def repeats(number, ids, seen):
    again = [id for id in ids if id in seen or ids.count(id) > 1]
    seen.update(ids)
    return [f"message {number} uses the ids {again} again"] if again else []


def unanswered(ids):
    return [f"the calls {ids} were never answered"] if ids else []


def proved():
    """Whether this checker accepts valid histories and rejects each kind of invalid one."""
    user = {"role": "user", "content": "x"}
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "a"}, {"type": "tool_use", "id": "b"}]}
    result = lambda id: {"type": "tool_result", "tool_use_id": id}
    text = {"type": "text", "text": "x"}
    answer = lambda *content: {"role": "user", "content": list(content)}
    calls = {"role": "assistant", "tool_calls": [{"id": "a"}, {"id": "b"}]}
    tool = lambda id: {"role": "tool", "tool_call_id": id}
    system = {"role": "system", "content": "x"}
    right = [
        [user, use, answer(result("a"), result("b"), text), user],
        [system, user, calls, tool("b"), tool("a"), user],
    ]
    broken = [
        [user, use, answer(result("a"))],
        [user, use, user],
        [user, use, answer(text, result("a"), result("b"))],
        [user, use, answer(result("a"), result("b"), result("b"))],
        [user, answer(result("a"))],
        [user, use],
        [user, use, answer(result("a"), result("b")), use, answer(result("a"), result("b"))],
        [system, user, calls, tool("a"), user],
        [system, user, calls, tool("a"), user, tool("b")],
        [system, user, calls, tool("a"), tool("a")],
        [system, user, tool("a")],
        [system, user, calls],
        [system, user, calls, tool("a"), tool("b"), calls, tool("a"), tool("b")],
        [user, {"role": "assistant", "content": []}],
    ]
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
    item = lambda id: {"type": "function_call", "call_id": id}
    output = lambda id: {"type": "function_call_output", "call_id": id, "output": "x"}
    items = [said, {"type": "reasoning"}, item("a"), item("b"), output("b"), output("a")]
    cut = [items[:-1], items[:-1] + [said], items[:4] + [said], items + [output("a")], [said, output("a")]]
    return (
        not any(wrong({"messages": it}) for it in right)
        and all(wrong({"messages": it}) for it in broken)
        and not wrong({"input": items})
        and all(wrong({"input": it}) for it in cut)
    )


if not proved():
    raise SystemExit("the checker of pairing does not distinguish valid from invalid histories")
