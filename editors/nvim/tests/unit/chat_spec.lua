local draw = require("meanwhile.ui.chat_draw")
local transcript = require("meanwhile.transcript")
local view = require("meanwhile.ui.view")

--- Returns a chat with the fields that drawing needs.
local function chat(log, tasks)
  return {
    buf = vim.api.nvim_create_buf(false, true),
    log = log,
    workspace = { tasks = tasks },
    drawn = {},
    sent = {},
    working = function()
      return false
    end,
  }
end

--- Returns the lines and the colours of a chat.
local function shown(it)
  local marks = vim.api.nvim_buf_get_extmarks(it.buf, view.namespace, 0, -1, { details = true })
  local colours = {}
  for _, mark in ipairs(marks) do
    local to = mark[4]
    table.insert(colours, { mark[2], mark[3], to.end_row, to.end_col, to.hl_group })
  end
  table.sort(colours, function(a, b)
    return vim.inspect(a) < vim.inspect(b)
  end)
  return { vim.api.nvim_buf_get_lines(it.buf, 0, -1, false), colours }
end

local function chunk(kind, text, ours)
  return {
    sessionUpdate = kind,
    content = { type = "text", text = text },
    _meta = ours and { meanwhile = ours },
  }
end

local running = { title = "make", outcome = "running", stands = "running" }

describe("a chat", function()
  it("looks the same whether it is drawn in steps or at once", function()
    math.randomseed(7)
    for _ = 1, 30 do
      local log, tasks = transcript.new(), {}
      local it, count = chat(log, tasks), 0
      local steps = {
        function()
          log:prompt("prompt\nof two lines " .. count)
        end,
        function()
          log:apply(chunk("agent_message_chunk", ("word%d\n"):format(count)))
        end,
        function()
          log:apply(chunk("agent_thought_chunk", "thought "))
        end,
        function()
          local id = ("%08x"):format(count)
          tasks[id] = { id = id, state = "running", shown = running, progress = { percent = 1 } }
          log:apply({
            sessionUpdate = "tool_call",
            toolCallId = id,
            title = "make",
            status = math.random() < 0.5 and "pending" or "in_progress",
            _meta = { meanwhile = { taskId = id, background = true } },
          })
        end,
        function()
          log:apply({
            sessionUpdate = "tool_call_update",
            toolCallId = ("%08x"):format(math.random(0, count)),
            status = "completed",
            content = { { type = "content", content = { type = "text", text = "a\nb" } } },
          })
        end,
        function()
          for _, task in pairs(tasks) do
            task.progress = { percent = math.random(0, 3) }
          end
          log:tasks_changed(function(id)
            return tasks[id]
          end)
        end,
        function()
          log:apply(chunk("agent_message_chunk", "of a call", { call = count % 3 }))
        end,
        function()
          log:void(count % 3)
        end,
        function()
          log:fault("fault")
        end,
      }
      for _ = 1, 40 do
        count = count + 1
        steps[math.random(#steps)]()
        if math.random() < 0.6 then
          draw.draw(it)
          local whole = chat(log, tasks)
          draw.draw(whole)
          assert.same(shown(whole), shown(it))
          vim.api.nvim_buf_delete(whole.buf, { force = true })
        end
      end
      -- Switch to another session.
      it.log = transcript.new()
      draw.draw(it)
      assert.equal(1, vim.api.nvim_buf_line_count(it.buf))
    end
  end)

  it("renders only what a change of a task concerns", function()
    local log, tasks = transcript.new(), {}
    for i = 1, 100 do
      local id = ("%08x"):format(i)
      local ended = i > 1
      tasks[id] = { id = id, state = ended and "exited" or "running", shown = running }
      log:apply({
        sessionUpdate = "tool_call",
        toolCallId = id,
        title = "make",
        status = "completed",
        _meta = { meanwhile = { taskId = id, background = true } },
      })
    end
    local it = chat(log, tasks)
    draw.draw(it)
    local render, rendered = transcript.render, 0
    transcript.render = function(...)
      rendered = rendered + 1
      return render(...)
    end
    for percent = 1, 10 do
      tasks["00000001"].progress = { percent = percent }
      -- Twice: the second time stands for a change to another task.
      for _ = 1, 2 do
        log:tasks_changed(function(id)
          return tasks[id]
        end)
        draw.draw(it)
      end
    end
    transcript.render = render
    assert.equal(10, rendered)
    assert.truthy(shown(it)[1][1]:find("running 10%%"), shown(it)[1][1])
  end)
end)
