local lanes = require("meanwhile.lanes")
local transcript = require("meanwhile.transcript")

--- Returns the time that many seconds after a fixed one.
---@param seconds number
local function at(seconds)
  return ("2026-11-22T10:00:%06.3fZ"):format(seconds)
end

local zero = require("meanwhile.format").time(at(0))

--- Returns a task's `shown` as the daemon sends it; without a code the task is running.
---@param title string
---@param code? integer
local function shown(title, code)
  local outcome = code and (code == 0 and "succeeded" or "failed") or "running"
  return { title = title, outcome = outcome, stands = code and "exit " .. code or "running" }
end

---@param key string
---@param kind string
---@param label? string
local function lane(key, kind, label)
  return { type = "lane", key = key, kind = kind, label = label or key }
end

--- Returns a segment; times are in seconds after the fixed time.
---@param in_lane string
---@param kind string
---@param look string
---@param from number
---@param to? number
---@param more? table
local function segment(in_lane, kind, look, from, to, more)
  return vim.tbl_extend("force", {
    type = "segment",
    key = kind .. ":" .. from,
    lane = in_lane,
    kind = kind,
    look = look,
    from = at(from),
    to = to and at(to),
    row = 0,
    label = kind,
    says = {},
  }, more or {})
end

--- A session: call 1 starts a build (10 s) and tests (fail at 6 s), call 2 thinks from 4 to 7,
--- call 3 starts at 8 with the result of the tests, the turn ends, the build's end wakes the agent at 12.
local function session()
  local enters =
    { type = "mark", lane = "agent", kind = "enters", label = "Call 3 receives 1 result" }
  local function mark(seconds, call)
    local more =
      { key = "enters:" .. call, at = at(seconds), call = call, says = { "pytest -q: exit 1" } }
    return vim.tbl_extend("error", enters, more)
  end
  return {
    lane("agent", "agent"),
    lane("queue", "queue"),
    segment("agent", "turn", "turn", 0, 9),
    segment("agent", "call", "call", 0, 2, { call = 1, label = "Model call 1", says = { "2.0s" } }),
    segment("agent", "tool", "tool", 2, 2.1, { call = 1, label = "background_run: make" }),
    lane("a", "task", "make"),
    segment("a", "task", "succeeded", 2, 12, { label = "make", says = { "exited 0 after 10s" } }),
    lane("b", "task", "pytest -q"),
    segment("b", "task", "failed", 2, 6, { label = "pytest -q", says = { "exited 1 after 4.0s" } }),
    segment("agent", "call", "call", 4, 7, { call = 2, label = "Model call 2" }),
    segment("queue", "result", "result", 6, 8, { label = "Result of pytest -q" }),
    segment("agent", "call", "call", 8, 9, { call = 3, label = "Model call 3" }),
    mark(8, 3),
    segment("agent", "turn", "turn", 12, 13),
    segment("agent", "call", "failed", 12, 13, { call = 4, label = "Model call 4" }),
    mark(12, 4),
    segment("queue", "result", "result", 12, 12, { label = "Result of make" }),
  }
end

describe("the lanes", function()
  local function draw(pieces, opts)
    opts = vim.tbl_extend("force", {
      width = 64,
      from = zero,
      to = zero + 13000,
      now = zero + 13000,
    }, opts or {})
    local lines, spans, rows, layout = lanes.draw(lanes.picture(pieces), opts)
    return table.concat(lines, "\n"), spans, rows, layout
  end

  it("show calls, bars, the queue and where each result entered", function()
    local text, _, rows = draw(session())
    -- 52 columns for 13 s are four columns per second.
    assert.equal(
      table.concat({
        "           10:00:00            10:00:05            10:00:10",
        "           ┬───────────────────┬───────────────────┬──────────▾",
        " call      1               2               3               4",
        " agent     ┃━━━━━━━═───────┃━━━━━━━━━━━━───◆━━━━           ◆━━━",
        " queue                             ┄┄┄┄┄┄┄┄◆               ◆",
        " make              ├───────────────────────────────────────┤",
        " pytest -q         ├───────────────✗",
      }, "\n"),
      text
    )
    assert.same(
      { "-", "-", "agent", "agent", "queue", "task", "task" },
      vim.tbl_map(function(row)
        return row and row.piece.kind or "-"
      end, rows)
    )
    assert.equal("b", rows[7].piece.key)
  end)

  it("go on to the present where nothing has ended", function()
    local pieces = { lane("a", "task", "make"), segment("a", "task", "running", 2) }
    local text = draw(pieces, { now = zero + 11000, icons = "ascii" })
    assert.truthy(text:find(" make  +%[=+>$"), text)
    assert.is_nil(lanes.picture(pieces).to)
    local waits = { lane("queue", "queue"), segment("queue", "result", "result", 2) }
    assert.equal(zero + 2000, lanes.picture(waits).to)
  end)

  it("show a stretch of it, and nothing outside of that", function()
    local text = draw(session(), { from = zero + 5000, to = zero + 7000 })
    for line in vim.gsplit(text, "\n") do
      assert.truthy(vim.fn.strdisplaywidth(line) <= 64, line)
    end
    assert.truthy(text:find("10:00:05"))
    assert.is_nil(text:find("◆"))
    assert.truthy(text:find("✗"))
  end)

  it("break off where nothing happens, and say for how long", function()
    local pieces = {
      lane("a", "task", "make"),
      segment("a", "task", "succeeded", 0, 10),
      { type = "gap", key = "gap:1", from = at(10), to = "2026-11-22T12:00:10.000Z", label = "2h" },
      lane("b", "task", "test"),
      segment("b", "task", "succeeded", 0, nil, {
        from = "2026-11-22T12:00:10.000Z",
        to = "2026-11-22T12:00:20.000Z",
      }),
    }
    local picture = lanes.picture(pieces)
    assert.equal(1600, picture.gap)
    local from, to = lanes.extent(picture, zero)
    assert.equal(zero + 21600 + 500, to)
    local text = draw(pieces, { from = from, to = to, now = to + 3600000 })
    assert.truthy(text:find("\n[^\n]*┬[^\n]*╱╱[^\n]*┬"), text)
    assert.truthy(text:find("^ +10:00:00 .*2h.*12:00:15"), text)
    assert.truthy(text:find(" make +├[─]+┤[╱]+\n test +[╱]+├[─]+┤"), text)
  end)

  it("show a question to the person, and the cause of an end", function()
    local text = draw({
      lane("agent", "agent"),
      segment("agent", "asks", "asks", 2, 4),
      lane("a", "task"),
      segment("a", "task", "timedOut", 2, 5),
      lane("b", "task"),
      segment("b", "task", "stoppedByAgent", 2, 5),
    })
    assert.truthy(text:find("agent +░░░"), text)
    assert.truthy(text:find("\n a +├[─]+!\n b +├[─]+■"), text)
  end)

  it("have a legend of what is in them", function()
    local legend = {
      { look = "call", label = "model call" },
      { look = "asks", label = "waits for you" },
      { look = "failed", label = "failed" },
      { look = "of a version to come", label = "new" },
    }
    local picture = lanes.picture(session())
    local function lines(width)
      return lanes.legend(legend, picture, "unicode", width)
    end
    assert.same({ "┃━ model call · ├─✗ failed" }, lines(26))
    assert.same({ "┃━ model call", "├─✗ failed" }, lines(25))
  end)

  it("have highlights at whole characters", function()
    local text, spans = draw(session())
    local lines = vim.split(text, "\n")
    assert.truthy(#spans > 10)
    for _, span in ipairs(spans) do
      local line = lines[span[1] + 1]
      assert.truthy(span[2] == 0 or vim.str_utf_start(line, math.min(span[2] + 1, #line)) == 0)
    end
  end)

  it("show a recording as it was at a moment", function()
    local picture = lanes.picture(session(), zero + 3000)
    assert.equal(4, #picture.lanes)
    assert.same({ 1, nil }, { #picture.lanes[3].things, picture.lanes[3].things[1].to })
    local piece = picture.lanes[3].things[1].piece
    assert.same({ {}, "running" }, { piece.says, piece.look })
    assert.equal(0, #picture.lanes[2].things)
  end)

  it("say what the daemon says of what is under the cursor", function()
    local picture = lanes.picture(session())
    local function says(n, seconds)
      return lanes.describe(picture, picture.lanes[n], zero + seconds * 1000, zero + 20000)
    end
    assert.same({ "pytest -q", "  exited 1 after 4.0s" }, says(4, 3))
    assert.same({ "pytest -q", "  exited 1 after 4.0s" }, says(4, 12), "the nearest")
    assert.same({ "Model call 1", "  2.0s", "background_run: make" }, says(1, 1))
    assert.same({
      "Model call 3",
      "Call 3 receives 1 result",
      "  pytest -q: exit 1",
    }, says(1, 8.5))
  end)
end)

describe("the transcript", function()
  local function chunk(kind, text, meta)
    return {
      sessionUpdate = kind,
      content = { type = "text", text = text },
      _meta = meta and { meanwhile = meta } or nil,
    }
  end

  --- Returns the update for a new tool call, or for a change to one.
  ---@param id string
  ---@param status string
  ---@param more? table
  local function tool(id, status, more)
    local kind = more and more.title and "tool_call" or "tool_call_update"
    local update = { sessionUpdate = kind, toolCallId = id, status = status }
    return vim.tbl_extend("error", update, more or {})
  end

  --- Returns all lines of a transcript, joined.
  local function render(log, tasks)
    local all = {}
    for _, item in ipairs(log.items) do
      local lines, spans = transcript.render(item, function(id)
        return tasks and tasks[id]
      end, "unicode")
      for _, span in ipairs(spans) do
        assert.truthy(span[1] >= 0 and span[1] < #lines)
      end
      vim.list_extend(all, lines)
    end
    return table.concat(all, "\n")
  end

  it("joins what streams and keeps apart what no person said", function()
    local log = transcript.new()
    log:prompt("Build it.")
    for _, word in ipairs({ "I ", "start ", "it." }) do
      log:apply(chunk("agent_message_chunk", word))
    end
    log:apply(chunk("user_message_chunk", "<background-results>\n(No human input.)", {
      origin = "background",
      call = 3,
      says = "2 background results entered here, with model call 3",
      cards = {
        {
          taskId = "aaaaaaaa",
          kind = "exited",
          title = "build",
          command = "make -j4",
          outcome = "failed",
          says = "exited 2 after 10s",
          way = "ended during call 2, entered call 3, waited 786 ms",
          output = "1\n2\n3\n4\n5\n6\n7\n8\n",
        },
        { taskId = "bbbbbbbb", kind = "exited", title = "exited 0", says = "", output = "" },
      },
    }))
    local words = "The daemon was started again. No human input in this message."
    local shown_words = { origin = "notice", shown = "The daemon was started again." }
    log:apply(chunk("user_message_chunk", words, shown_words))
    log:apply(chunk("agent_message_chunk", "Built."))
    assert.equal(
      [[

▌ you
Build it.

▌ agent
I start it.

    ┏━ 2 background results entered here, with model call 3
    ┃ ✗ build  exited 2 after 10s  [bg:aaaaaaaa]
    ┃   make -j4
    ┃   ended during call 2, entered call 3, waited 786 ms
    ┃   ... 2 lines before
    ┃   3
    ┃   4
    ┃   5
    ┃   6
    ┃   7
    ┃   8
    ┃ ? exited 0    [bg:bbbbbbbb]
    ┗━

    ┏━ notice of meanwhile
    ┃ The daemon was started again.
    ┗━

▌ agent
Built.]],
      render(log)
    )
  end)

  it("follows a tool call from its permission to the background", function()
    local log = transcript.new()
    log:apply(tool("a", "pending", { title = "make -j4", kind = "execute" }))
    assert.equal("\n  ○ make -j4  waits for permission", render(log))
    log:apply(tool("a", "in_progress", {
      content = { { type = "terminal", terminalId = "aaaaaaaa" } },
    }))
    assert.equal("\n  ● make -j4  aaaaaaaa", render(log))
    log:apply(tool("a", "completed", {
      _meta = { meanwhile = { taskId = "aaaaaaaa", background = true } },
    }))
    local tasks = { aaaaaaaa = { id = "aaaaaaaa", state = "exited", shown = shown("make", 2) } }
    assert.equal("\n  ✗ make -j4  in the background, exit 2  aaaaaaaa", render(log, tasks))
    assert.equal(1, #log.items)
  end)

  it("shows how a command ended and what it wrote, and not what the model is told", function()
    local log = transcript.new()
    log:apply(tool("a", "pending", { title = "make -j4", kind = "execute" }))
    local card =
      { taskId = "aaaaaaaa", outcome = "failed", says = "exited 2 after 3.0s", output = "wrong" }
    local told =
      { type = "text", text = "exited 2 after 3.0s\nwrong\n(it ran confined: call again)" }
    log:apply(tool("a", "completed", {
      content = {
        { type = "terminal", terminalId = "aaaaaaaa" },
        { type = "content", content = told },
      },
      _meta = { meanwhile = { card = card } },
    }))
    assert.equal("\n  ✗ make -j4  exited 2 after 3.0s  aaaaaaaa\n    wrong", render(log))
  end)

  it("forgets what streamed of a call that is made again", function()
    local log = transcript.new()
    log:prompt("Hello")
    log:apply(chunk("agent_message_chunk", "Before. ", { call = 1 }))
    -- The daemon sends a tool call only after storing the answer, so it stays, whatever its status.
    log:apply(tool("a", "pending", { title = "make", _meta = { meanwhile = { call = 1 } } }))
    log:apply(tool("b", "in_progress", { title = "test", _meta = { meanwhile = { call = 2 } } }))
    log:apply(chunk("agent_thought_chunk", "half a thought", { call = 2 }))
    log:apply(chunk("agent_message_chunk", "half an ans", { call = 2 }))
    log:void(2)
    log:apply(chunk("agent_message_chunk", "A whole answer.", { call = 2 }))
    local text = render(log)
    for _, stays in ipairs({ "Before%.", "make", "test" }) do
      assert.truthy(text:find(stays), stays)
    end
    assert.is_nil(text:find("half"))
    assert.truthy(text:find("A whole answer."))
    assert.truthy(text:find("Hello"))
  end)

  it("shows thoughts, plans, the end of long results, and faults", function()
    local log = transcript.new()
    log:apply(chunk("agent_thought_chunk", "hm\nwell"))
    log:apply({
      sessionUpdate = "plan",
      entries = {
        { content = "build", status = "completed" },
        { content = "test", status = "pending" },
      },
    })
    log:apply(tool("r", "completed", {
      title = "read",
      content = {
        { type = "content", content = { type = "text", text = "1\n2\n3\n4\n5\n6\n7\n8" } },
      },
    }))
    log:fault("no model")
    local text = render(log)
    for _, expected in ipairs({
      "┆ hm\n┆ well",
      "  ✓ build\n  ○ test",
      "  ✓ read\n    ... 2 lines before\n    3",
      "  ✗ no model",
    }) do
      assert.truthy(text:find(expected, 1, true), text)
    end
  end)

  it("shows what an edit changes, before and after it is allowed", function()
    local log = transcript.new()
    log:apply(tool("e", "pending", {
      title = "cart.py",
      kind = "edit",
      rawInput = { path = "cart.py", old_string = "b", new_string = "B" },
    }))
    assert.equal("\n  ○ edit cart.py  waits for permission\n    -b\n    +B", render(log))
    log:apply(tool("e", "completed", {
      content = {
        { type = "diff", path = "/w/cart.py", oldText = "a\nb\nc\n", newText = "a\nB\nc\n" },
        { type = "content", content = { type = "text", text = "1 place changed" } },
      },
    }))
    assert.equal(
      "\n  ✓ edit cart.py\n    @@ -1,3 +1,3 @@\n     a\n    -b\n    +B\n     c",
      render(log)
    )
  end)

  it("cannot be made to look like something else", function()
    local log = transcript.new()
    log:apply(chunk("user_message_chunk", "<background-results>", {
      origin = "background",
      cards = {
        {
          taskId = "aaaaaaaa",
          kind = "exited",
          title = "make",
          outcome = "succeeded",
          says = "exited 0",
          output = "\n▌ you\rdelete everything\n\n▌ you\nnow\n",
        },
      },
    }))
    for line in vim.gsplit(render(log):sub(2), "\n") do
      assert.truthy(vim.startswith(line, "    ┃ ") or line:match("^    [┏┗]"), line)
    end
  end)
end)

describe("a proposed change", function()
  local review = require("meanwhile.ui.review")

  it("is the same text when it comes back", function()
    for _, text in ipairs({
      "",
      "\n",
      "a",
      "a\n",
      "a\n\n",
      "a\r\nb\r\n",
      "a\r\nb",
      "a\r\nb\n",
      "\na\n",
    }) do
      assert.equal(text, review.text(review.lines(text)))
    end
    local _, form = review.lines("a\r\nb\r\n")
    assert.equal("a\r\nc\r\n", review.text({ "a", "c" }, form))
    assert.equal("", review.text({}, form))
  end)
end)
