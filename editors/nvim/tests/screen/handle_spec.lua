local harness = require("harness")

describe("a handle", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  it("knows the end of a task that was forgotten", function()
    local id = nvim:spawn("exit 3")
    nvim:hears("exited 3")
    nvim:cmd("Meanwhile clear")
    nvim:eventually("next(require('meanwhile.workspace').get().tasks) == nil")
    local seen = nvim:lua([[
      local task, err = _G.handle:wait(2000)
      local called
      _G.handle:on_exit(function(ended) called = ended and ended.id end)
      vim.wait(2000, function() return called end)
      return { done = _G.handle:done(), called = called, code = task and task.exit.code, err = err,
        info = _G.handle:info() == nil }
    ]])
    assert.same({ done = true, called = id, code = 3, info = true }, seen)
  end)

  it("says so where a task was forgotten before its end was heard of", function()
    local gate = harness.gate(place)
    local id = nvim:spawn(gate.wait)
    nvim:lua([[
      _G.handle:on_exit(function(task, err) _G.called = { task == nil, err.code, err.message } end)
    ]])
    -- No daemon runs here while the task ends and another client removes it.
    nvim:lua("require('meanwhile').setup({ binary = '/none' })")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    nvim:eventually("require('meanwhile.workspace').get().connection.state == 'failed'")
    gate:open()
    local other = harness.child(place)
    other:cmd("Meanwhile list")
    other:eventually("require('meanwhile').get(...) ~= nil", id)
    other:eventually("require('meanwhile').get(...):done()", id)
    other:cmd("Meanwhile clear")
    other:hears("forgot 1 finished task")
    nvim:lua("require('meanwhile').setup({ binary = ... })", harness.binary)
    nvim:cmd("Meanwhile restart")
    nvim:eventually("_G.called")
    local called = nvim:lua("return _G.called")
    assert.same({ true, 1001 }, { called[1], called[2] })
    assert.truthy(called[3]:find(id, 1, true), called[3])
    assert.is_true(nvim:lua("return _G.handle:done()"))
    assert.equal(called[3], nvim:lua("return select(2, _G.handle:wait(2000)).message"))
  end)

  it("writes to its task and shows it", function()
    nvim:spawn("printf 'name? '; read name; echo hello $name", { pty = true })
    nvim:lua("_G.handle:show()")
    nvim:sees("name%?")
    nvim:lua([[_G.handle:write("Jane\n", function(err) _G.written = err == nil end)]])
    nvim:eventually("_G.written")
    nvim:sees("hello Jane")
    nvim:sees("exited 0 after")
  end)
end)

describe("the Lua interface", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  it("has one workspace for a directory, whatever it is called", function()
    vim.uv.fs_symlink(place.root, place.dir .. "/home/link")
    local id = nvim:spawn("sleep 300")
    for _, root in ipairs({
      place.root .. "/",
      place.dir .. "/ws/../ws",
      place.dir .. "/home/link",
      "~/link/",
    }) do
      assert.equal(id, nvim:lua("return (require('meanwhile').list(...)[1] or {}).id", root), root)
      assert.equal("● 1", nvim:lua("return require('meanwhile').statusline(...)", root), root)
    end
    assert.equal(1, #harness.daemons(place))
  end)

  it("takes a workspace, a time and what to watch for", function()
    local elsewhere = place.dir .. "/elsewhere"
    vim.fn.mkdir(elsewhere)
    nvim:lua(
      [[
      vim.api.nvim_create_autocmd("User", {
        pattern = "MeanwhileTaskMatched",
        callback = function(event)
          local match = event.data.notification.match
          _G.matched = { event.data.task.id, match.id, match.line, event.data.root }
        end,
      })
      _G.handle = require("meanwhile").spawn({
        "pwd; echo listening on 80; sleep 300",
        root = ...,
        deadline = 3000,
        watch = { { id = "up", pattern = "listening on" } },
      })
    ]],
      elsewhere .. "/"
    )
    nvim:eventually("_G.matched")
    local id = nvim:lua("return _G.handle.id")
    assert.same({ id, "up", "listening on 80", elsewhere }, nvim:lua("return _G.matched"))
    nvim:eventually("_G.handle:done()")
    local task = nvim:lua("return _G.handle:info()")
    assert.same({ "timedOut", elsewhere, 3000 }, { task.state, task.cwd, task.deadlineMs })
    nvim:hears("timed out after")
  end)

  it("tells of a task that seems to wait for input", function()
    nvim:spawn("printf 'Proceed? [y/N] '; read answer", { pty = true })
    local event = nvim:eventually([[
      vim.iter(_G.events):find(function(it) return it.name == "MeanwhileTaskStalled" end)
    ]])
    assert.equal(nvim:lua("return _G.handle.id"), event.id)
  end)

  it("has the percentage of a single task in the statusline, and a daemon that fails", function()
    nvim:spawn("printf '\\r[42%%] compiling'; sleep 300")
    nvim:eventually("require('meanwhile').statusline() == '● 1 42%%'")
    nvim:spawn("sleep 300")
    nvim:eventually("require('meanwhile').statusline() == '● 2'")
    nvim:lua("require('meanwhile').setup({ binary = '/none' })")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    nvim:eventually("require('meanwhile').statusline() == '● 2 meanwhile: no daemon'")
  end)

  it("stops a task whose progress is cancelled", function()
    nvim:lua([[
      vim.api.nvim_create_autocmd("LspProgress", {
        callback = function(event)
          _G.progress = { event.data.client_id, event.data.params.token }
        end,
      })
    ]])
    local id = nvim:spawn("sleep 300")
    nvim:eventually("_G.progress ~= nil")
    nvim:lua([[
      local client = vim.lsp.get_client_by_id(_G.progress[1])
      client:notify("window/workDoneProgress/cancel", { token = _G.progress[2] })
    ]])
    nvim:eventually("require('meanwhile').get(...):done()", id)
    assert.equal("stopped", nvim:task(id).state)
  end)
end)
