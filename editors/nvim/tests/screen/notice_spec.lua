local harness = require("harness")

describe("a notice", function()
  local place
  before_each(function()
    place = harness.place()
  end)
  after_each(harness.clean)

  --- Lua for a child that reports the ends of some tasks at once.
  local ends = [[
    for _, end_ in ipairs(...) do
      require("meanwhile.tell").ended({
        id = "b3f9c2a1", workspace = "/", durationMs = 4000, queue = "default", state = "exited",
        shown = {
          title = end_[1],
          outcome = end_[2] == 0 and "succeeded" or "failed",
          ended = ("exited %d after 4.0s"):format(end_[2]),
          notice = end_[2] == 0 and "info" or "error",
        },
      })
    end
  ]]

  --- Waits for a message, and fails if the child then waits for a key.
  local function hears(nvim, text)
    local said = place.dir .. "/said"
    vim.fn.delete(said)
    harness.eventually(text, function()
      assert.is_false(nvim:blocked(), "it waits for a key")
      nvim:later("vim.fn.writefile(vim.split(vim.fn.execute('messages'), '\\n'), ...)", said)
      local there = vim.uv.fs_stat(said) and table.concat(vim.fn.readfile(said), "\n") or ""
      return there:find(text, 1, true)
    end)
  end

  it("of many ends at once is one line, and never asks for a key", function()
    for _, case in ipairs({
      {
        { { "one", 3 }, { "two", 4 } },
        "one exited 3 after 4.0s; two exited 4 after 4.0s",
        true,
      },
      {
        { { "one", 0 }, { "two", 0 }, { ("x"):rep(200), 0 } },
        "one exited 0 after 4.0s; two exited 0 after 4.0s; xxx",
        false,
      },
      {
        vim.fn["repeat"]({ { ("y"):rep(80), 101 } }, 3),
        "3 tasks ended, 3 of them failed",
        true,
      },
      { vim.fn["repeat"]({ { "make", 1 } }, 9), "9 tasks ended, 9 of them failed", true },
    }) do
      -- With Neovim's own `vim.notify`, without a plugin for messages.
      local nvim = harness.child(place, { ui = true, notify = false, columns = 100 })
      nvim:type("i")
      nvim:eventually("vim.fn.mode() == 'i'")
      nvim:lua(ends, case[1])
      hears(nvim, case[2])
      nvim:type("typed on")
      nvim:eventually("vim.fn.getline(1) == 'typed on'")
      -- The level is that of the worst end.
      assert.equal(case[3], nvim:lua("return vim.v.errmsg ~= ''"))
      nvim:quit()
    end
  end)

  it("comes although the function that is asked for it fails", function()
    local nvim = harness.child(place, {
      config = [[{ notify = function(task) error("no such " .. task.label) end }]],
    })
    local seen = nvim:lua([[
      local handle = require("meanwhile").spawn({ "exit 3", label = "thing" })
      local called
      handle:on_exit(function(task) called = task.exit.code end)
      vim.wait(20000, function() return called end)
      return called
    ]])
    assert.equal(3, seen)
    nvim:hears("thing exited 3")
    local told = nvim:hears("vim.g.meanwhile.notify")
    assert.truthy(told:find("no such thing", 1, true), told)
    nvim:eventually("#_G.events == 2")
  end)

  it("is up to a function, which is not asked about an agent's tasks", function()
    local nvim = harness.child(place, {
      config = [[{ notify = function(task)
        _G.asked = vim.list_extend(_G.asked or {}, { task.label })
        return task.label ~= "quiet"
      end }]],
    })
    nvim:spawn("exit 1", { label = "agent", queue = "8f14e45f-ceea-467f-a8f1-9d2c3b4a5e6f" })
    nvim:spawn("exit 2", { label = "quiet" })
    nvim:spawn("exit 3", { label = "loud" })
    nvim:hears("loud exited 3")
    nvim:eventually("#_G.events == 6")
    local asked = nvim:lua("return _G.asked")
    table.sort(asked)
    assert.same({ "loud", "quiet" }, asked)
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
    assert.equal(2, nvim:lua("return require('meanwhile.workspace').get().seen_failures"))
  end)

  it("comes only of what took long, is not seen, and once the person is there", function()
    local nvim = harness.child(place, { config = { notify_after = 1 } })
    nvim:spawn("exit 3", { label = "quick" })
    nvim:eventually("#_G.events == 2")
    local gate = harness.gate(place)
    nvim:spawn("sleep 1.1; " .. gate.wait, { label = "seen" })
    nvim:cmd("Meanwhile output")
    gate:open()
    nvim:sees("seen · exit 0")
    nvim:cmd("quit")
    nvim:cmd("doautocmd FocusLost")
    nvim:spawn("sleep 1.1", { label = "first" })
    nvim:spawn("sleep 1.2", { label = "second" })
    nvim:eventually("#_G.events == 8")
    -- Without the focus no message may come before `FocusGained`.
    nvim:lua("vim.wait(300, function() return #_G.told > 0 end)")
    assert.equal("", nvim:told())
    nvim:cmd("doautocmd FocusGained")
    nvim:hears("first exited 0 after [^\n]*; second exited 0 after")
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("comes when the person types, where the terminal does not tell of the focus", function()
    local nvim = harness.child(place)
    for event, keys in pairs({ InsertEnter = "i", CmdlineEnter = ":", CursorMoved = "j" }) do
      nvim:lua("vim.api.nvim_buf_set_lines(0, 0, -1, false, { 'a', 'b' })")
      nvim:type("<Esc>gg")
      nvim:eventually("vim.fn.line('.') == 1 and vim.api.nvim_get_mode().mode == 'n'")
      nvim:cmd("doautocmd FocusLost")
      nvim:spawn("exit 0", { label = "of" .. event })
      nvim:eventually("#_G.events >= 2 and _G.handle:done()")
      nvim:type(keys)
      nvim:hears("of" .. event .. " exited 0")
    end
    nvim:type("<Esc>")
    nvim:cmd("doautocmd FocusLost")
    nvim:cmd("doautocmd VimResume")
    nvim:spawn("exit 0", { label = "resumed" })
    nvim:hears("resumed exited 0")
  end)

  it("comes for every queue but an agent's", function()
    local nvim = harness.child(place)
    nvim:cmd("Meanwhile run ++queue=mine ++label=first exit 4")
    nvim:hears("first exited 4")
    nvim:lua("require('meanwhile').setup({ queue = 'other' })")
    nvim:cmd("Meanwhile restart")
    nvim:eventually("require('meanwhile.workspace').get().connection.restarts == 1")
    nvim:cmd("Meanwhile run ++label=second exit 5")
    nvim:hears("second exited 5")
    -- `:Meanwhile output` without an id takes this task too.
    nvim:cmd("Meanwhile output")
    nvim:sees("second · exit 5")
  end)

  it("comes after a stop that failed", function()
    local nvim = harness.child(place)
    local gate = harness.gate(place)
    nvim:spawn(gate.wait .. "; exit 6", { label = "job" })
    local failure = nvim:lua([[
      local failure
      _G.handle:stop({ signal = "NONSENSE" }, function(err) failure = err and err.message end)
      vim.wait(20000, function() return failure end)
      return failure
    ]])
    assert.truthy(failure:find("NONSENSE"), failure)
    gate:open()
    nvim:hears("job exited 6")
  end)

  it("comes once where the end is quicker than the stop", function()
    local nvim = harness.child(place)
    local gate = harness.gate(place)
    nvim:spawn(gate.wait .. "; exit 6", { label = "job" })
    -- The stop request reaches the daemon only after the task has ended.
    local failure = nvim:lua(
      [[
      local gate = ...
      local workspace = _G.handle.workspace
      local request = workspace.request
      workspace.request = function(self, method, ...)
        local rest = { ... }
        if method ~= "task/stop" then return request(self, method, ...) end
        workspace.request = request
        vim.fn.writefile({}, gate)
        _G.handle:on_exit(function() request(self, method, unpack(rest)) end)
      end
      local failure
      _G.handle:stop(nil, function(err) failure = err and err.code end)
      vim.wait(20000, function() return failure end)
      return failure
    ]],
      gate.path
    )
    assert.equal(1004, failure)
    nvim:hears("job exited 6")
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("says that a task waits for input, where that cannot be seen", function()
    local nvim = harness.child(place)
    local stall = [[
      local task = require("meanwhile").list()[1]
      task.waitsForInput, task.shown.stands, task.shown.notice = true, "waits for input", "warning"
      local notification = { kind = "stalled", seq = 1, queue = "default", task = task }
      require("meanwhile.workspace").get():pushed("task/notified", { notification = notification })
    ]]
    local id = nvim:spawn("sleep 300", { label = "release" })
    nvim:lua(stall)
    nvim:hears("release waits for input %(:Meanwhile output " .. id .. "%)")
    nvim:cmd("Meanwhile output")
    nvim:lua(stall)
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
    assert.equal(
      2,
      nvim:lua([[
      return #vim.tbl_filter(function(it) return it.name == "MeanwhileTaskStalled" end, _G.events)
    ]])
    )
  end)

  it("leaves nothing behind of a task that is forgotten", function()
    local nvim = harness.child(place)
    local id = nvim:spawn("sleep 300")
    nvim:cmd("Meanwhile stop " .. id)
    nvim:hears("stopped by client")
    nvim:cmd("Meanwhile clear")
    nvim:hears("forgot 1 finished task")
    nvim:eventually("next(require('meanwhile.workspace').get().tasks) == nil")
    local left = nvim:lua(
      [[
      local workspace, left = require("meanwhile.workspace").get(), {}
      for name, value in pairs(workspace) do
        if type(value) == "table" and value[...] ~= nil then table.insert(left, name) end
      end
      return left
    ]],
      id
    )
    assert.same({}, left)
  end)
end)
