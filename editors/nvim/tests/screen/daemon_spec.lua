local harness = require("harness")

--- Writes a program that takes the role of `meanwhile`.
---@param place Place
---@param body string
---@return string path
local function program(place, body)
  local path = place.dir .. "/fake"
  vim.fn.writefile({ "#!/bin/sh", body }, path)
  vim.uv.fs_chmod(path, 493)
  return path
end

describe("the daemon", function()
  local place
  before_each(function()
    place = harness.place()
  end)
  after_each(harness.clean)

  it("is killed under the client: it comes back, with everything that happened", function()
    local nvim = harness.child(place)
    local gate = harness.gate(place)
    local id = nvim:spawn(gate.wait .. "; exit 6")
    nvim:cmd("Meanwhile list")
    nvim:sees("1 running")
    local first = harness.daemons(place)
    assert.equal(1, #first)
    vim.uv.kill(first[1], "sigkill")
    -- The task ends while no window shows it.
    nvim:cmd("quit")
    gate:open()
    nvim:hears("exited 6 after")
    local second = harness.eventually("a new daemon", function()
      local pids = harness.daemons(place)
      return #pids == 1 and pids[1] ~= first[1] and pids[1]
    end)
    assert.truthy(second)
    nvim:cmd("Meanwhile list")
    nvim:sees("0 running, 1 failed, 1 in all")
    local ends = vim.tbl_filter(function(event)
      return event.name == "MeanwhileTaskExited" and event.id == id
    end, nvim:lua("return _G.events"))
    assert.equal(1, #ends, "the end is told exactly once")
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("is killed over a spawn: there is one task", function()
    local nvim = harness.child(place)
    nvim:spawn("true")
    local pid = harness.daemons(place)[1]
    vim.uv.kill(pid, "sigstop")
    nvim:lua("_G.handle = require('meanwhile').spawn({ 'echo once >> spawned' })")
    vim.uv.kill(pid, "sigkill")
    nvim:eventually("_G.handle:done()")
    assert.same({ "once" }, vim.fn.readfile(place.root .. "/spawned"))
  end)

  it("is killed while an output is shown, and it is followed on", function()
    local nvim = harness.child(place)
    local gate = harness.gate(place)
    nvim:spawn("echo before; " .. gate.wait .. "; echo after")
    nvim:cmd("Meanwhile output")
    nvim:sees("before")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    gate:open()
    nvim:sees("exited 0 after")
    local text = nvim:text()
    assert.truthy(text:find("^before\nafter\n%[exited 0"), text)
  end)

  it("ends with a Neovim that is killed, and the tasks go on", function()
    local nvim = harness.child(place)
    local gate = harness.gate(place)
    local id = nvim:spawn(gate.wait .. "; echo finished anyway", { label = "kept" })
    nvim:kill()
    harness.eventually("no daemon left", function()
      return #harness.daemons(place) == 0
    end)
    -- A new Neovim lists the running task and reports its end.
    local again = harness.child(place)
    again:cmd("Meanwhile list")
    again:sees("● running.*kept")
    again:cmd("quit")
    gate:open()
    again:hears("kept exited 0")
    assert.equal("finished anyway\n", harness.cli(place, "logs", id).stdout)
  end)

  it("ends with a Neovim that is left", function()
    local nvim = harness.child(place)
    local id = nvim:spawn("sleep 300")
    local from = vim.uv.hrtime()
    nvim:quit()
    assert.truthy((vim.uv.hrtime() - from) / 1e6 < 5000, "leaving takes no time")
    harness.eventually("no daemon left", function()
      return #harness.daemons(place) == 0
    end)
    assert.truthy(harness.cli(place, "ps").stdout:find(id .. "  running"))
  end)

  it("keeps dying: one message that names the setting and the way back", function()
    local fake = program(
      place,
      '[ "$1" = --version ] && echo meanwhile 9.9.9 && exit; echo x >> '
        .. place.dir
        .. "/starts; exit 3"
    )
    local nvim = harness.child(place, { config = { binary = fake } })
    nvim:cmd("Meanwhile list")
    nvim:hears("vim.g.meanwhile.binary")
    local told = nvim:told()
    assert.equal(1, nvim:lua("return #_G.told"), told)
    assert.truthy(told:find("ended 6 times within a minute %(exit code 3%)"), told)
    assert.truthy(told:find(":Meanwhile restart", 1, true))
    assert.equal(6, #vim.fn.readfile(place.dir .. "/starts"))
    -- The person fixes the option without restarting Neovim.
    nvim:lua("require('meanwhile').setup({ binary = ... })", harness.binary)
    nvim:cmd("Meanwhile restart")
    nvim:sees("No tasks yet")
    assert.equal(1, nvim:lua("return #_G.told"))
  end)

  it("is not there, or is something else: one message that names the setting", function()
    local other = program(place, "echo something else 1.0")
    local old = place.dir .. "/old"
    vim.fn.writefile({ "#!/bin/sh", "echo meanwhile 0.0.1" }, old)
    vim.uv.fs_chmod(old, 493)
    for _, case in ipairs({
      { place.dir .. "/none", "`[^`]*/none` does not exist" },
      { place.root, "is not executable" },
      { other, "does not answer as meanwhile does" },
      { old, "is version 0.0.1, and this plugin needs 0.1.0 or newer" },
    }) do
      local nvim = harness.child(place, { config = { binary = case[1] } })
      nvim:cmd("Meanwhile run make")
      nvim:hears(case[2])
      assert.truthy(nvim:told():find("vim.g.meanwhile", 1, true), "the setting is named")
      -- Once the option is fixed, the next command works.
      nvim:lua("require('meanwhile').setup({ binary = ... })", harness.binary)
      nvim:cmd("Meanwhile run echo mended")
      nvim:hears("echo mended exited 0")
      assert.equal(2, nvim:lua("return #_G.told"), nvim:told())
      nvim:quit()
    end
  end)

  it("is found on the PATH, and its absence says how to get it", function()
    local bin = place.dir .. "/bin"
    vim.fn.mkdir(bin, "p")
    local env = { PATH = bin .. ":/usr/bin:/bin", CARGO_HOME = place.dir .. "/cargo" }
    local nvim = harness.child(place, { binary = false, env = env })
    nvim:cmd("Meanwhile run echo hello")
    local told = nvim:hears("no `meanwhile` on the PATH")
    assert.truthy(
      told:find("cargo install", 1, true) and told:find("vim.g.meanwhile", 1, true),
      told
    )
    vim.uv.fs_symlink(harness.binary, bin .. "/meanwhile")
    nvim:cmd("Meanwhile run echo hello")
    nvim:hears("echo hello exited 0")
    nvim:cmd("checkhealth meanwhile")
    assert.truthy(nvim:text():find("/bin/meanwhile`, from PATH", 1, true), nvim:text())
  end)

  it("speaks another version of the protocol: both are named", function()
    local fake = place.dir .. "/fake.lua"
    vim.fn.writefile({
      [[if arg[1] == "--version" then io.write("meanwhile 9.0.0\\n") os.exit(0) end]],
      [[local length]],
      [[repeat]],
      [[  local line = io.read("*l"):gsub("\r", "")]],
      [[  length = tonumber(line:match("^Content%-Length: (%d+)")) or length]],
      [[until line == ""]],
      [[local id = vim.json.decode(io.read(length)).id]],
      [[local meanwhile = { protocolVersion = 7 }]],
      [[local result = { capabilities = { experimental = { meanwhile = meanwhile } } }]],
      [[local body = vim.json.encode({ jsonrpc = "2.0", id = id, result = result })]],
      [[io.write(("Content-Length: %d\r\n\r\n%s"):format(#body, body))]],
      [[io.flush()]],
      [[io.read("*a")]],
    }, fake)
    local script =
      program(place, ("exec %s --clean -l %s $1"):format(vim.fn.shellescape(vim.v.progpath), fake))
    local nvim = harness.child(place, { config = { binary = script } })
    nvim:cmd("Meanwhile list")
    nvim:hears("speaks protocol version 7, and this plugin speaks 1")
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("is quiet: nothing on its standard error, nothing in the log", function()
    local nvim = harness.child(place)
    nvim:spawn("echo x; exit 1")
    nvim:hears("exited 1")
    nvim:cmd("Meanwhile list")
    nvim:cmd("Meanwhile output")
    nvim:sees("exited 1 after")
    nvim:quit()
    local errors = {}
    for line in nvim:log():gmatch("[^\n]+") do
      if not line:match("^%[START%]") then
        table.insert(errors, line)
      end
    end
    assert.same({}, errors)
  end)

  it("is started by itself where that is wished for, and one is enough", function()
    local nvim = harness.child(place)
    nvim:lua("vim.g.meanwhile = { autostart = true, binary = ... }", harness.binary)
    nvim:cmd("doautocmd VimEnter")
    nvim:eventually("require('meanwhile.workspace').get().connection.state == 'ready'")
    nvim:cmd("Meanwhile list")
    nvim:sees("No tasks yet")
    assert.equal(1, #harness.daemons(place))
  end)

  it("is ended and started again, and its tasks go on", function()
    local nvim = harness.child(place)
    local id = nvim:spawn("sleep 300")
    local first = harness.daemons(place)
    nvim:cmd("Meanwhile restart")
    harness.eventually("another daemon", function()
      local pids = harness.daemons(place)
      return #pids == 1 and pids[1] ~= first[1]
    end)
    nvim:eventually("require('meanwhile.workspace').get().connection.state == 'ready'")
    nvim:cmd("Meanwhile stop " .. id)
    nvim:hears("sleep 300 stopped by client")
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("has its words in the log that is opened", function()
    local nvim = harness.child(place, { config = { env = { MEANWHILE_LOG = "debug" } } })
    nvim:spawn("true")
    nvim:hears("true exited 0")
    nvim:cmd("Meanwhile log")
    assert.is_true(nvim:lua("return vim.bo.readonly"))
    nvim:eventually([[(function()
      vim.cmd("silent edit")
      local text = table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), " ")
      return text:find('"stderr".*DEBUG') ~= nil
    end)()]])
  end)

  it("passes its checkup", function()
    local nvim = harness.child(place, { lines = 80 })
    nvim:spawn("true")
    nvim:cmd("checkhealth meanwhile")
    local text = nvim:text()
    for _, expected in ipairs({
      "OK all known",
      "from vim.g.meanwhile.binary",
      "OK version %d+%.%d+%.%d+",
      "OK subreaper",
      "ready, 1 tasks known",
    }) do
      assert.truthy(text:find(expected), expected .. "\n" .. text)
    end
    assert.is_nil(text:find("ERROR"), text)
    -- Each warning of the doctor has advice, and there are no other warnings.
    local warned = 0
    for _ in text:gmatch("WARNING") do
      warned = warned + 1
    end
    local doctor = harness.cli(place, "doctor").stdout
    assert.equal(select(2, ("\n" .. doctor):gsub("\nwarn ", "")), warned, text)
    nvim:lua("vim.g.meanwhile = { binary = '/none', icons = 3 }")
    nvim:cmd("checkhealth meanwhile")
    text = nvim:text()
    assert.truthy(text:find("ERROR `/none` does not exist", 1, true), text)
    assert.truthy(text:find("ERROR `vim.g.meanwhile.icons` is a number", 1, true), text)
  end)
end)
