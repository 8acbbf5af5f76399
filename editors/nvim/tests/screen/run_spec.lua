local harness = require("harness")

describe(":Meanwhile run", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  it("opens nothing and tells once when it is done", function()
    vim.fn.writefile({ "all:", "\t@sleep 0.3; echo built" }, place.root .. "/Makefile")
    nvim:cmd("edit notes.txt | Meanwhile run make")
    nvim:type("ihello<Esc>")
    nvim:hears("make exited 0 after")
    local state = nvim:lua([[
      return { wins = #vim.api.nvim_list_wins(), line = vim.fn.getline(1), mode = vim.fn.mode(),
        told = #_G.told, blocking = vim.api.nvim_get_mode().blocking }
    ]])
    assert.same({ wins = 1, line = "hello", mode = "n", told = 1, blocking = false }, state)
    local events = nvim:lua("return _G.events")
    assert.same({ "MeanwhileTaskStarted", "MeanwhileTaskExited" }, {
      events[1].name,
      events[2].name,
    })
    assert.equal(2, #events)
  end)

  it("tells a failure by its exit code and counts it in the statusline", function()
    nvim:lua(
      "vim.o.laststatus = 2; vim.o.statusline = '%{%v:lua.require\\'meanwhile\\'.statusline()%}|'"
    )
    local gate = harness.gate(place)
    nvim:cmd("Meanwhile run ++label=tests " .. gate.wait .. "; exit 7")
    nvim:sees("● 1|")
    gate:open()
    nvim:hears("tests exited 7 after")
    nvim:sees("✗ 1|")
    assert.equal(vim.log.levels.ERROR, nvim:lua("return _G.told[1].level"))
    -- Opening the list marks the failure as seen.
    nvim:cmd("Meanwhile list")
    assert.equal("", nvim:lua("return require('meanwhile').statusline()"))
  end)

  it("runs the lines of a range, or gives them to the command", function()
    nvim:lua([[vim.api.nvim_buf_set_lines(0, 0, -1, false, { "b", "a", "echo $((40 + 2))", "x" })]])
    nvim:cmd("3Meanwhile run")
    nvim:cmd("1,2Meanwhile run sort | tr '\\n' ,")
    local function output(command)
      local id = nvim:eventually(
        [[(function(command)
          for _, task in ipairs(require("meanwhile").list()) do
            if task.command == command and task.state == "exited" then return task.id end
          end
        end)(...)]],
        command
      )
      return harness.cli(place, "logs", id).stdout
    end
    assert.equal("42\n", output("echo $((40 + 2))"))
    assert.equal("a,b,", output("sort | tr '\\n' ,"))
  end)

  it("completes and stops by label", function()
    nvim:cmd("Meanwhile run ++label=server sleep 300")
    nvim:eventually("#_G.events == 1")
    nvim:type(":Meanwhile stop ser<Tab><CR>")
    nvim:hears("server stopped by client after")
    -- The stop has reported the end, so there is no second message.
    assert.equal(1, nvim:lua("return #_G.told"))
  end)

  it("stops all of them with a bang", function()
    nvim:spawn("sleep 300", { label = "one" })
    nvim:spawn("sleep 300", { label = "two" })
    nvim:cmd("Meanwhile! stop")
    nvim:hears("one stopped by client")
    nvim:hears("two stopped by client")
    nvim:cmd("Meanwhile! stop")
    nvim:hears("nothing runs")
  end)

  it("completes ids, each where it is of use", function()
    local running, ended = nvim:spawn("sleep 300"), nvim:spawn("true")
    nvim:eventually("require('meanwhile').get(...):done()", ended)
    local function completed(what)
      return nvim:lua("return vim.fn.getcompletion('Meanwhile ' .. ..., 'cmdline')", what)
    end
    assert.same({ running }, completed("stop "))
    assert.same({ running, ended }, completed("output "))
    assert.same({ ended }, completed("quickfix " .. ended:sub(1, 4)))
  end)

  it("runs the selected lines by a map", function()
    nvim:lua([[
      vim.keymap.set("x", "X", "<Plug>(MeanwhileRun)")
      vim.api.nvim_buf_set_lines(0, 0, -1, false, { "echo one >> ran", "echo two >> ran", "no" })
    ]])
    nvim:type("ggVjX")
    nvim:hears("exited 0")
    assert.same({ "one", "two" }, vim.fn.readfile(place.root .. "/ran"))
  end)

  it("asks for a command where none is given", function()
    nvim:type(":Meanwhile run<CR>")
    nvim:sees("Run:")
    nvim:type("echo asked for<CR>")
    nvim:hears("echo asked for exited 0")
  end)

  it("runs where the person says, and behind a slot", function()
    local far = place.dir .. "/far"
    vim.fn.mkdir(far .. "/ws", "p")
    vim.fn.mkdir(place.dir .. "/home/config/meanwhile", "p")
    local there = ('["env", "HOME=%s", "MEANWHILE_STATE_DIR=%s/state", "%s", "serve"]'):format(
      far,
      far,
      harness.binary
    )
    vim.fn.writefile({
      "[places.far]",
      "command = " .. there,
      ('workspace = "%s/ws"'):format(far),
      "[places.attic]",
      [[command = ["sh", "-c", "echo 'No route to host' >&2; exit 255"] ]],
      "[slots.one]",
    }, place.dir .. "/home/config/meanwhile/config.toml")
    nvim:cmd("Meanwhile list | wincmd w")
    nvim:sees("No tasks yet")
    -- Completion needs the daemon, which may start slowly.
    nvim:eventually("require('meanwhile.workspace').get().connection.state == 'ready'")
    nvim:type(":Meanwhile run ++on=f<Tab>")
    nvim:sees(":Meanwhile run %+%+on=far")
    nvim:type(" pwd<CR>")
    nvim:sees("✓ exit 0 .* at far")
    nvim:type(":Meanwhile output<CR>")
    nvim:sees(vim.pesc(far) .. "/ws")
    nvim:type("q:Meanwhile run<CR>sleep 300<CR>")
    nvim:sees("1: this machine\n2: attic.*\n3: far")
    nvim:type("2<CR>")
    nvim:sees("● queued .* attic out of reach")
    nvim:cmd("Meanwhile list")
    nvim:type("ggjK")
    nvim:sees("no contact +since %d+.*No route to host")
    nvim:type("q")
    nvim:cmd("Meanwhile! stop")
    nvim:cmd("Meanwhile run ++slot=one sleep 300")
    nvim:cmd("Meanwhile run ++slot=one true")
    nvim:sees("● queued .* 1st for one, behind %x+ sleep 300")
    nvim:cmd("Meanwhile! stop")
    nvim:quit()
    -- The courier of a place keeps running for a while: stop it.
    for _, process in ipairs(harness.processes("MEANWHILE_STATE_DIR=" .. place.dir)) do
      if process.command:find(" courier ") then
        vim.uv.kill(process.pid, "sigterm")
      end
    end
  end)

  it("says what is wrong with its options", function()
    nvim:cmd("Meanwhile run ++colour=red make")
    nvim:hears("`%+%+colour=red` is not an option of run")
    nvim:cmd("Meanwhile frobnicate")
    nvim:hears("`frobnicate` is not a subcommand")
    assert.equal(0, #harness.daemons(place), "nothing was started for that")
  end)

  it("drains what has ended, once", function()
    nvim:spawn("echo one; exit 1")
    nvim:spawn("echo two")
    nvim:eventually([[(require("meanwhile.workspace").get().undelivered.default or 0) == 2]])
    nvim:cmd("Meanwhile drain")
    local screen = nvim:sees("2 notifications since the last drain")
    assert.truthy(screen:find("exited 1 after"))
    assert.truthy(screen:find("  two"))
    nvim:type("q")
    nvim:eventually([[(require("meanwhile.workspace").get().undelivered.default or 0) == 0]])
    nvim:cmd("Meanwhile drain")
    nvim:hears("nothing new")
  end)

  it("can be told with one switch to say nothing", function()
    nvim:lua("require('meanwhile').setup({ notify = false })")
    nvim:spawn("exit 3")
    nvim:eventually("#_G.events == 2")
    nvim:lua("require('meanwhile').setup({ notify = true })")
    nvim:spawn("exit 4")
    nvim:hears("exited 4")
    assert.is_nil(nvim:told():find("exited 3"))
  end)

  it("counts many ends at once instead of listing them", function()
    nvim:lua(
      [[
      for i = 1, 20 do require("meanwhile").spawn({ "cat " .. ..., label = "t" .. i }) end
    ]],
      place.root .. "/gate"
    )
    nvim:eventually("#_G.events == 40")
    nvim:hears("tasks ended, %d+ of them failed")
  end)
end)

describe("the readme's way of installing it", function()
  after_each(harness.clean)

  it("is enough for the command and the help", function()
    local place = harness.place()
    local readme = table.concat(vim.fn.readfile(harness.plugin .. "/README.md"), "\n")
    local line = readme:match("\n(vim%.opt%.runtimepath:append%(.-%))\n")
    line = line:gsub("/path/to/meanwhile", harness.checkout)
    local init = place.dir .. "/init.lua"
    vim.fn.writefile({ line }, init)
    local script = place.dir .. "/script.lua"
    vim.fn.writefile({
      "vim.cmd('help meanwhile-list')",
      "io.write(vim.fn.exists(':Meanwhile') .. ' ' .. vim.fn.expand('%:t'))",
    }, script)
    local command =
      { vim.v.progpath, "--headless", "-u", init, "-c", "luafile " .. script, "-c", "qa!" }
    local out = vim.system(command, { env = place.env, cwd = place.root, text = true }):wait(20000)
    assert.equal("2 meanwhile.txt", out.stdout, out.stderr)
    assert.equal("", out.stderr)
  end)
end)

describe("the Lua interface", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  it("spawns with a handle that waits and calls back", function()
    local seen = nvim:lua([[
      local calls = {}
      local handle = require("meanwhile").spawn({
        { "sh", "-c", "echo $COLOUR; pwd; exit 5" },
        env = { COLOUR = "green" },
        label = "api",
        on_exit = function(task) table.insert(calls, task.exit.code) end,
      })
      handle:on_exit(function(task) table.insert(calls, task.id) end)
      local early = handle:done()
      local task = handle:wait(15000)
      vim.wait(1000, function() return #calls == 2 end)
      -- After the end it is called as well.
      handle:on_exit(function(task) table.insert(calls, "late") end)
      local text
      handle:output(function(got) text = got end)
      vim.wait(5000, function() return text and #calls == 3 end)
      return { early = early, id = task.id, code = task.exit.code, calls = calls, text = text,
        label = task.label, same = require("meanwhile").get(task.id:sub(1, 6)):info().id }
    ]])
    assert.is_false(seen.early)
    assert.same({ 5, seen.id, "late" }, seen.calls)
    assert.equal("green\n" .. place.root .. "\n", seen.text)
    assert.same({ "api", 5, seen.id }, { seen.label, seen.code, seen.same })
  end)

  it("gives up waiting when told to, and the task goes on", function()
    local seen = nvim:lua([[
      local handle = require("meanwhile").spawn({ "sleep 300" })
      local task, err = handle:wait(300)
      local stopped
      handle:stop({}, function(_, now) stopped = now end)
      vim.wait(10000, function() return stopped end)
      return { task = task, err = err.message, state = stopped.state }
    ]])
    assert.is_nil(seen.task)
    assert.truthy(seen.err:find("keeps running"))
    assert.equal("stopped", seen.state)
  end)

  it("gives a task the environment that Neovim has now, without keys", function()
    nvim:spawn("true")
    nvim:lua([[
      vim.env.VIRTUAL_ENV, vim.env.XDG_DATA_HOME = "/venv", nil
      vim.env.ANTHROPIC_API_KEY = "secret"
    ]])
    local text = nvim:lua([[
      local handle = require("meanwhile").spawn({
        'echo "$VIRTUAL_ENV|${XDG_DATA_HOME-unset}|${ANTHROPIC_API_KEY-none}|$MINE"',
        env = { MINE = "mine" },
      })
      handle:wait(15000)
      local text
      handle:output(function(got) text = got end)
      vim.wait(5000, function() return text end)
      return text
    ]])
    assert.equal("/venv|unset|none|mine\n", text)
  end)

  it("spawns while the daemon has not answered the handshake, without keys", function()
    local text = nvim:lua([[
      local meanwhile, workspace = require("meanwhile"), require("meanwhile.workspace").get()
      meanwhile.spawn({ "true" })
      -- Begun, and what it can do is not known yet.
      vim.wait(15000, function() return workspace.connection.environment end, 1)
      vim.env.OPENAI_API_KEY, vim.env.MINE = "secret", "mine"
      local handle = meanwhile.spawn({ 'echo "${OPENAI_API_KEY-none}|$MINE"' })
      handle:wait(15000)
      local text
      handle:output(function(got) text = got end)
      vim.wait(5000, function() return text end)
      return text
    ]])
    assert.equal("none|mine\n", text)
  end)

  it("says why there is no task", function()
    local seen = nvim:lua([[
      local called
      local handle = require("meanwhile").spawn({ { "/no/such/program" } })
      handle:on_exit(function(task, err) called = { task = task, err = err.message } end)
      local task, err = handle:wait(10000)
      vim.wait(1000, function() return called end)
      return { err = err.message, code = err.code, called = called }
    ]])
    assert.equal(1002, seen.code)
    assert.truthy(seen.err:find("/no/such/program", 1, true))
    assert.equal(seen.err, seen.called.err)
  end)

  it("drains", function()
    local seen = nvim:lua([[
      require("meanwhile").spawn({ "echo drained" }):wait(15000)
      local got
      require("meanwhile").drain(function(notifications) got = notifications end)
      vim.wait(10000, function() return got end)
      return { #got, got[1].preview.head }
    ]])
    assert.same({ 1, "drained\n" }, seen)
  end)

  it("shows progress as language servers do", function()
    nvim:lua([[
      _G.progress = {}
      vim.api.nvim_create_autocmd("LspProgress", {
        callback = function(event) table.insert(_G.progress, event.data.params.value) end,
      })
    ]])
    nvim:spawn("for i in 10 50 90; do printf '\\r[%d%%] building' $i; sleep 0.4; done; echo")
    nvim:eventually([[
      #vim.tbl_filter(function(it) return it.kind == "end" end, _G.progress) == 1
    ]])
    local kinds = nvim:lua([[
      return vim.tbl_map(function(it) return { it.kind, it.percentage } end, _G.progress)
    ]])
    assert.equal("begin", kinds[1][1])
    local reported = vim.tbl_filter(function(it)
      return it[1] == "report" and type(it[2]) == "number"
    end, kinds)
    assert.truthy(#reported > 0, vim.inspect(kinds))
  end)

  it("loads nothing and starts nothing before it is used", function()
    local function loaded()
      return nvim:lua([[
        return vim.tbl_filter(function(name) return name:match("^meanwhile") end,
          vim.tbl_keys(package.loaded))
      ]])
    end
    assert.same({ "meanwhile.ui.view" }, loaded())
    assert.equal("", nvim:lua("return require('meanwhile').statusline()"))
    assert.equal(2, #loaded(), "a statusline loads what it is called by")
    assert.same({}, harness.daemons(place))
  end)
end)
