local harness = require("harness")

describe("the output", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  --- Waits until the buffer matches a pattern, and returns its text.
  local function has(pattern)
    return nvim:eventually(
      [[(function(pattern)
        local text = table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
        return text:find(pattern) and text
      end)(...)]],
      pattern
    )
  end

  --- Waits until the last lines match a pattern; fast even for a long buffer.
  local function ends(pattern)
    return nvim:eventually(
      [[(function(pattern)
        local last = vim.fn.prevnonblank(vim.fn.line("$"))
        local lines = vim.api.nvim_buf_get_lines(0, math.max(0, last - 5), last, false)
        return table.concat(lines, "\n"):find(pattern) ~= nil
      end)(...)]],
      pattern
    )
  end

  it("has colours and what a terminal does with redrawn lines", function()
    nvim:spawn("printf 'a \\033[31mred\\033[0m b\\n1%%\\r99%%\\n'; exit 2")
    nvim:eventually("#_G.events == 2")
    nvim:cmd("Meanwhile output")
    local text = has("exited 2 after")
    assert.truthy(text:find("^a red b\n99%%\n%[exited 2 after"), text)
    -- The cell of the word has another colour than the cell before it.
    nvim:eventually([[(function()
      vim.cmd("redraw")
      local info = vim.fn.getwininfo(vim.api.nvim_get_current_win())[1]
      local row = info.winrow + info.winbar
      return vim.fn.screenattr(row, 1) ~= vim.fn.screenattr(row, 3)
    end)()]])
  end)

  it("has the size of the window that shows it, and of the one looked at last", function()
    local wait = "while :; do sleep 0.05; done"
    -- The task may get its size before its trap for changes is set.
    local id = nvim:spawn("trap 'stty size' WINCH; echo ready; stty size; " .. wait, { pty = true })
    nvim:cmd("Meanwhile output")
    has("ready")
    local size = "(function() local i = vim.fn.getwininfo(vim.fn.win_getid())[1]"
      .. " return i.height .. ' ' .. i.width end)()"
    has(nvim:lua("return " .. size))
    nvim:cmd("resize 7")
    has(nvim:lua("return " .. size) .. "\n")
    -- Another client resizes the terminal, then this one gets the focus again.
    nvim:lua(
      [[require("meanwhile.workspace").get():request("task/resize",
        { id = ..., rows = 33, cols = 44 }, function() end)]],
      id
    )
    has("33 44")
    nvim:cmd("doautocmd FocusGained")
    local last = nvim:lua("return " .. size)
    has("33 44\n" .. last)
    -- The next task starts with this size.
    nvim:spawn("stty size", { pty = true })
    nvim:hears("stty size exited")
    nvim:cmd("Meanwhile output")
    has("^" .. last .. "\n")
  end)

  it("gives its size once, and to no daemon that was given up", function()
    nvim:spawn("cat", { pty = true })
    nvim:cmd("Meanwhile output")
    nvim:eventually("vim.b.term_title == 'cat'")
    nvim:lua([[
      local workspace = require("meanwhile.workspace").get()
      local request = workspace.request
      _G.sizes = 0
      workspace.request = function(self, method, ...)
        _G.sizes = _G.sizes + (method == "task/resize" and 1 or 0)
        return request(self, method, ...)
      end
    ]])
    local function after(command)
      nvim:cmd(command)
      nvim:cmd("redraw")
      return nvim:lua("return _G.sizes")
    end
    assert.equal(1, after("resize 7"))
    assert.equal(1, after("doautocmd WinResized"))
    assert.equal(1, after("doautocmd BufWinEnter"))
    assert.equal(2, after("doautocmd WinEnter"))
    assert.equal(3, after("doautocmd FocusGained"))
    nvim:lua("require('meanwhile').setup({ binary = '/none' })")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    nvim:eventually("require('meanwhile.workspace').get().connection.state == 'failed'")
    nvim:eventually("#_G.told > 0")
    local told = nvim:told()
    assert.equal(3, after("resize 8"))
    assert.equal(3, after("doautocmd WinEnter"))
    assert.equal("failed", nvim:lua("return require('meanwhile.workspace').get().connection.state"))
    assert.equal(told, nvim:told())
    -- The next daemon gets the current size.
    nvim:lua("require('meanwhile').setup({ binary = ... })", harness.binary)
    nvim:cmd("Meanwhile restart")
    nvim:eventually("_G.sizes == 4")
  end)

  it("leads to the files it names, from where the command ran", function()
    vim.fn.mkdir(place.root .. "/a dir", "p")
    vim.fn.writefile({ "one", "two", "three" }, place.root .. "/a dir/main.x")
    nvim:spawn("echo main.x:3: broken; exit 1", { cwd = place.root .. "/a dir" })
    nvim:hears("exited 1")
    nvim:cmd("Meanwhile output")
    has("broken")
    nvim:type("gggF")
    nvim:eventually("vim.api.nvim_buf_get_name(0) == ...", place.root .. "/a dir/main.x")
    nvim:eventually("vim.fn.line('.') == 3")
  end)

  it("follows what is written, and says how it ended", function()
    local gate = harness.gate(place)
    nvim:spawn("echo first; " .. gate.wait .. "; echo second")
    nvim:cmd("Meanwhile output")
    has("first")
    nvim:sees("echo first; until .* · running")
    assert.is_nil(nvim:text():find("second"))
    gate:open()
    local text = has("exited 0 after")
    assert.truthy(text:find("^first\nsecond\n%[exited 0"), text)
    -- No output came twice, and the cursor is at the end.
    assert.equal(1, select(2, text:gsub("second", "")))
    nvim:eventually("vim.fn.line('.') >= 2")
    nvim:sees("echo first; until .* · exit 0")
  end)

  it("shows every byte of an output that comes faster than it is pushed", function()
    local gate = harness.gate(place)
    nvim:spawn("echo ready; " .. gate.wait .. "; seq 1 60000; echo; echo last")
    nvim:cmd("Meanwhile output")
    has("ready")
    gate:open()
    has("last\n%[exited 0")
    local missing = nvim:lua([[
      local expected = 1
      for _, line in ipairs(vim.api.nvim_buf_get_lines(0, 0, -1, false)) do
        local number = tonumber(line)
        if number and number ~= expected then return { expected, number } end
        if number then expected = expected + 1 end
      end
      return expected
    ]])
    assert.equal(60001, missing)
  end)

  it("opens 100 MB without freezing, the end first and what was before when asked", function()
    local id = nvim:spawn("seq 1 12700000; echo the end")
    nvim:eventually([[require("meanwhile.workspace").get().tasks[...].state == "exited"]], id)
    assert.truthy(nvim:task(id).output.total > 100e6)
    -- Measure the longest time that Neovim did not process events. In CPU time, since the machine may be
    -- busy with something else.
    nvim:lua([[
      _G.worst, _G.last = 0, os.clock()
      local timer = vim.uv.new_timer()
      timer:start(0, 5, vim.schedule_wrap(function()
        local now = os.clock()
        _G.worst, _G.last = math.max(_G.worst, (now - _G.last) * 1000), now
      end))
    ]])
    local from = vim.uv.hrtime()
    nvim:cmd("Meanwhile output " .. id)
    ends("the end\n")
    local opened = (vim.uv.hrtime() - from) / 1e6
    assert.truthy(opened < 5000, ("it took %d ms"):format(opened))
    local before = nvim:lua("return vim.fn.line('$')")
    nvim:sees("the end")
    assert.truthy(nvim:lua("return vim.fn.getline(1)"):find("o reads more of it"))
    nvim:type("o")
    nvim:eventually("vim.fn.line('$') > ...", before * 2)
    ends("the end\n%[exited 0")
    local worst = nvim:lua("return _G.worst")
    assert.truthy(worst < 200, ("Neovim stood still for %d ms"):format(worst))
  end)

  --- Records what is written to the terminals. Returns a function for it, without the plugin's notes.
  local function recorded()
    nvim:lua([[
      _G.given = {}
      local send = vim.api.nvim_chan_send
      vim.api.nvim_chan_send = function(channel, text)
        table.insert(_G.given, text)
        return send(channel, text)
      end
    ]])
    return function()
      local text = nvim:lua("return table.concat(_G.given)")
      return (text:gsub("\r\n", "\n"):gsub("\27%[0m\27%[[^\n]*\n", ""))
    end
  end

  it("shows each part once when the daemon dies while it is read", function()
    local given = recorded()
    nvim:lua("require('meanwhile').setup({ output = { tail = 16 * 1024 * 1024 } })")
    local id = nvim:spawn("seq 1 250000")
    nvim:eventually([[require("meanwhile.workspace").get().tasks[...].state == "exited"]], id)
    local pid = harness.daemons(place)[1]
    nvim:cmd("Meanwhile output " .. id)
    nvim:eventually("#_G.given > 5")
    vim.uv.kill(pid, "sigstop")
    nvim:eventually([[next(require("meanwhile.workspace").get().connection.sent) ~= nil]])
    vim.uv.kill(pid, "sigkill")
    ends("exited 0")
    local text = given()
    local numbers = {}
    for i = 1, 250000 do
      numbers[i] = i
    end
    local whole = table.concat(numbers, "\n") .. "\n"
    assert.equal(#whole, #text)
    assert.equal(vim.fn.sha256(whole), vim.fn.sha256(text))
  end)

  it("reads more of what came before while it still reads, and leaves nothing out", function()
    nvim:lua("require('meanwhile').setup({ output = { tail = 64 * 1024 } })")
    local id = nvim:spawn("seq 1 12700000; echo the end")
    nvim:eventually([[require("meanwhile.workspace").get().tasks[...].state == "exited"]], id)
    nvim:cmd("Meanwhile output " .. id)
    ends("the end\n%[exited 0")
    -- The second `o` comes while the first read of the other terminal is pending.
    local given = recorded()
    nvim:lua([[
      local workspace = require("meanwhile.workspace").get()
      local request = workspace.request
      workspace.request = function(self, method, ...)
        request(self, method, ...)
        if method == "task/read" then
          workspace.request = request
          _G.given = {}
          vim.cmd.normal("o")
          _G.again = true
        end
      end
    ]])
    nvim:type("o")
    nvim:eventually("_G.again")
    ends("the end\n%[exited 0")
    local text = given()
    local expected = tonumber(text:match("^%d+\n"))
    assert.truthy(expected < 12700000 - 8 * 64 * 1024 / 9, "it goes as far back as two do")
    for line in vim.gsplit(text, "\n", { trimempty = true }) do
      if line ~= "the end" then
        assert.equal(expected, tonumber(line))
        expected = expected + 1
      end
    end
    assert.equal(12700001, expected)
  end)

  it("skips a flood that no eye can follow, and ends with its end", function()
    local gate = harness.gate(place)
    -- Long lines: the test needs many bytes, and lines cost Neovim's terminal the most time.
    nvim:spawn("echo ready; " .. gate.wait .. "; seq -f %060.0f 1 1200000; echo flooded")
    nvim:cmd("Meanwhile output")
    has("ready")
    gate:open()
    ends("flooded\n%[exited 0")
    -- A note marks each place where numbers are missing, except those that have scrolled out of the buffer.
    local missing = nvim:lua([[
      local function is_note(line)
        return line ~= nil
          and (line:find("skipped; o reads them", 1, true) or line:find("were not kept", 1, true))
      end
      local last
      local lines = vim.api.nvim_buf_get_lines(0, 0, -1, false)
      for i, line in ipairs(lines) do
        local number = tonumber(line)
        if is_note(line) or is_note(lines[i + 1]) then
          -- The line before the note may be cut.
          last = nil
        elseif number then
          if last and number ~= last + 1 then return { last, number } end
          last = number
        end
      end
      return last
    ]])
    assert.equal(1200000, missing)
  end)

  it("takes input for a task with a terminal", function()
    nvim:cmd("Meanwhile run ++pty ++open printf 'name? '; read name; echo hello $name")
    nvim:sees("name%?")
    nvim:type("<C-w>j")
    nvim:eventually("vim.bo.filetype == 'meanwhile-output'")
    nvim:type("iJane<CR>")
    nvim:sees("hello Jane")
    nvim:sees("exited 0 after")
  end)

  it("says so where a task takes no input", function()
    nvim:spawn("echo ready; sleep 300")
    nvim:cmd("Meanwhile output")
    has("ready")
    nvim:type("ix")
    nvim:hears("this task takes no input")
    nvim:type("x")
    nvim:sees("stopped by client after")
  end)

  it("fills the quickfix list by the command, whatever buffer is the current one", function()
    vim.fn.mkdir(place.root .. "/src", "p")
    vim.fn.writefile({ "one", "two", "three" }, place.root .. "/src/main.x")
    -- A compiler with a known name, with colours and a terminal's line endings.
    local gcc = place.root .. "/gcc"
    local said = "printf 'noise\\n\\033[31mmain.x:2:5: error: no such thing\\033[0m\\n'; exit 1"
    vim.fn.writefile({ "#!/bin/sh", said }, gcc)
    vim.uv.fs_chmod(gcc, tonumber("755", 8))
    nvim:cmd("edit src/other.x | setlocal errorformat=%f\\|%l\\|%m")
    nvim:cmd("Meanwhile run ++cwd=src FLAGS=1 ../gcc -c main.x")
    nvim:hears("exited 1")
    nvim:cmd("Meanwhile quickfix")
    nvim:hears("1 place found")
    nvim:cmd("cc")
    assert.same(
      { place.root .. "/src/main.x", 2 },
      nvim:lua("return { vim.api.nvim_buf_get_name(0), vim.fn.line('.') }")
    )
    local texts = nvim:lua([[
      return vim.tbl_map(function(item) return item.text end, vim.fn.getqflist())
    ]])
    assert.truthy(table.concat(texts, "\n"):find("no such thing", 1, true), vim.inspect(texts))
    assert.equal("%f|%l|%m", nvim:lua("vim.cmd('edit src/other.x') return vim.bo.errorformat"))
  end)

  it("takes no rest of a line for a place", function()
    nvim:lua("vim.go.errorformat = '%f|%l|%m'")
    local first, second = "dir/main.x|2|one", "main.x|3|two"
    local id = nvim:spawn(("printf '%%s\\n' '%s' '%s'; exit 1"):format(first, second))
    nvim:hears("exited 1")
    -- The part that is read starts within the first line, then exactly at the second.
    for _, most in ipairs({ #second + 5, #second + 1 }) do
      nvim:lua("require('meanwhile.quickfix').most = ...", most)
      nvim:cmd("Meanwhile quickfix " .. id)
      nvim:eventually("vim.fn.getqflist({ nr = '$' }).nr == ...", most == #second + 5 and 1 or 2)
      local texts = nvim:lua([[
        return vim.tbl_map(function(item) return item.text end, vim.fn.getqflist())
      ]])
      assert.same({ "two" }, texts)
    end
  end)

  it("fills it by itself where that is wished for", function()
    nvim:lua("require('meanwhile').setup({ quickfix = 'failed', errorformat = '%f:%l: %m' })")
    nvim:spawn("echo a.c:3: fine")
    nvim:hears("exited 0")
    nvim:spawn("echo a.c:7: broken; exit 1")
    nvim:eventually("#vim.fn.getqflist() == 1")
    assert.equal(7, nvim:lua("return vim.fn.getqflist()[1].lnum"))
    assert.equal(1, nvim:lua("return vim.fn.getqflist({ nr = '$' }).nr"), "the first made none")
  end)
end)
