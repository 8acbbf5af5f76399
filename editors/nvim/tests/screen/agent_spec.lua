local harness = require("harness")

--- A script for the model, in a file.
---@param place Place
---@param script string
---@return table env
local function model(place, script)
  local path = place.dir .. "/agent.toml"
  vim.fn.writefile(vim.split(script, "\n"), path)
  return { MEANWHILE_MODEL = "script/" .. path }
end

describe("the chat", function()
  local place
  before_each(function()
    place = harness.place()
  end)
  after_each(harness.clean)

  --- Starts a Neovim with its chat open.
  ---@param script string
  ---@param opts? table
  local function chat(script, opts)
    opts = vim.tbl_extend("force", { lines = 50, columns = 120 }, opts or {})
    opts.env = model(place, script)
    local nvim = harness.child(place, opts)
    nvim:cmd("Meanwhile chat")
    nvim:sees("idle")
    assert.equal("meanwhile-prompt", nvim:lua("return vim.bo.filetype"))
    return nvim
  end

  --- What the chat says, without windows around it.
  ---@param nvim Child
  local function said(nvim)
    return nvim:lua([[
      local buf = require("meanwhile.ui.view").find(
        "meanwhile://chat" .. require("meanwhile.workspace").root())
      return table.concat(vim.api.nvim_buf_get_lines(buf, 0, -1, false), "\n")
    ]])
  end

  --- Waits until it says something.
  ---@param nvim Child
  ---@param pattern string
  local function says(nvim, pattern)
    local text
    local ok = vim.wait(harness.patience, function()
      text = said(nvim)
      return text:find(pattern) ~= nil
    end, 30)
    if not ok then
      error(("never said: %s\n%s\ntold: %s"):format(pattern, text, nvim:told()), 2)
    end
    return text
  end

  it("streams an answer to what was typed", function()
    local nvim = chat([==[
pace_ms = 30
[[turn]]
think = "It is a greeting."
text = "Hello, I am a model that reads from a file."
]==])
    nvim:type("iGood morning<CR>to you<Esc><CR>")
    says(nvim, "▌ you\nGood morning\nto you\n")
    says(nvim, "▌ agent\nHello,")
    nvim:sees("working")
    local text = says(nvim, "reads from a file%.")
    assert.truthy(text:find("┆ It is a greeting."), text)
    nvim:sees("idle")
    assert.equal(1, select(2, text:gsub("Good morning", "")), "the prompt is there once")
    assert.equal("", nvim:text(), "and no longer below")
  end)

  it("asks for permission, runs in the background and wakes with the result", function()
    local gate = place.root .. "/gate"
    -- No rule knows what a script does, so it is always asked.
    local script = ("until [ -e %s ]; do sleep 0.05; done; echo built; exit $1"):format(gate)
    vim.fn.writefile({ script }, place.root .. "/wait.sh")
    local nvim = chat([==[
[[turn]]
text = "I start it."
[[turn.call]]
tool = "background_run"
input = { command = "sh wait.sh 3", label = "build" }
save = { build = "[0-9a-f]{8}" }
[[turn]]
text = "It runs."
[[turn]]
expect = ["<background-results>", "[bg:{{build}}] exited 3"]
text = "The build failed."
]==])
    nvim:type("iBuild it<Esc><CR>")
    nvim:sees("Allow the agent: .*sh wait.sh")
    says(nvim, "waits for permission")
    nvim:type("1<CR>")
    says(nvim, "It runs%.")
    says(nvim, "in the background, running")
    local task = nvim:lua([[
      return vim.iter(require("meanwhile").list()):find(function(t) return t.label == "build" end)
    ]])
    assert.equal("running", task.state)
    nvim:sees("1 in the background")
    nvim:cmd("wincmd t | Meanwhile list")
    nvim:sees("● running .* build +sh wait.sh 3")
    nvim:type("q")
    vim.fn.writefile({}, gate)
    local text = says(nvim, "The build failed%.")
    assert.truthy(
      text:find("┏━ background results, not typed by anyone · entered with call 3"),
      text
    )
    assert.truthy(text:find("┃ %[bg:" .. task.id .. "%] exited 3"), text)
    assert.truthy(text:find("in the background, exit 3  " .. task.id), text)
    -- Where a result is said, its output is one key away.
    nvim:cmd("Meanwhile chat")
    nvim:type("<C-w>k/bg:<CR><CR>")
    nvim:sees("exited 3 after")
    assert.truthy(nvim:lua("return vim.api.nvim_buf_get_name(0)"):find(task.id))
    -- An agent's task is no notice for the person.
    assert.is_nil(nvim:told():find("exited 3"))
  end)

  it("takes no for an answer", function()
    local nvim = chat([==[
[[turn]]
[[turn.call]]
tool = "background_run"
input = { command = "touch forbidden" }
[[turn]]
text = "Then I leave it."
]==])
    nvim:type("iTouch it<Esc><CR>")
    local screen = nvim:sees("Allow the agent: .*touch forbidden")
    local reject = screen:lower():match("(%d+): [^\n]*no")
      or screen:lower():match("(%d+): [^\n]*reject")
      or screen:lower():match("(%d+): [^\n]*deny")
    assert.truthy(reject, screen)
    nvim:type(reject .. "<CR>")
    says(nvim, "Then I leave it%.")
    assert.is_nil(vim.uv.fs_stat(place.root .. "/forbidden"))
  end)

  it("shows what it edited, in the chat and in the buffer of the file", function()
    vim.fn.writefile({ "one", "two", "three" }, place.root .. "/notes.txt")
    local nvim = chat([==[
[[turn]]
[[turn.call]]
tool = "edit_file"
input = { path = "notes.txt", old_string = "two", new_string = "2" }
[[turn]]
text = "Changed."
]==])
    nvim:cmd("wincmd t | edit notes.txt | wincmd b")
    nvim:type("iChange it<Esc><CR>")
    nvim:sees("Allow the agent: .*notes.txt")
    says(nvim, "%-two\n +%+2")
    nvim:type("1<CR>")
    says(nvim, "Changed%.")
    nvim:eventually("vim.fn.getbufline('notes.txt', 2)[1] == '2'")
  end)

  it("never asks over what is typed elsewhere", function()
    local nvim = chat([==[
[[turn]]
delay_ms = 600
[[turn.call]]
tool = "background_run"
input = { command = "touch allowed" }
[[turn]]
text = "Done."
]==])
    nvim:type("iTouch it<Esc><CR><C-w>h")
    nvim:type("iMy own ")
    nvim:hears("the agent asks for permission: .*touch allowed")
    nvim:type("1<CR>text<Esc>")
    nvim:eventually("vim.fn.getline(2) == 'text'")
    assert.equal("My own 1", nvim:lua("return vim.fn.getline(1)"))
    assert.is_nil(vim.uv.fs_stat(place.root .. "/allowed"), "it was not the answer")
    nvim:cmd("Meanwhile chat")
    nvim:sees("Allow the agent:")
    nvim:type("1<CR>")
    says(nvim, "Done%.")
    harness.eventually("the file", function()
      return vim.uv.fs_stat(place.root .. "/allowed")
    end)
  end)

  it("forgets a question when the daemon that asked it is gone", function()
    local nvim = chat([==[
[[turn]]
[[turn.call]]
tool = "background_run"
input = { command = "touch asked" }
[[turn]]
text = "After it."
]==])
    nvim:type("iAsk me<Esc><CR>")
    nvim:sees("Allow the agent:")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    nvim:eventually("require('meanwhile.workspace').get().connection.restarts == 1")
    nvim:type("1<CR>")
    nvim:sees("idle")
    says(nvim, "Ask me")
    nvim:type("iAgain<Esc><CR>")
    says(nvim, "After it%.")
    assert.is_nil(vim.uv.fs_stat(place.root .. "/asked"), "a late answer allows nothing")
  end)

  it("is cancelled, and background tasks go on", function()
    local nvim = chat([==[
[[turn]]
[[turn.call]]
tool = "background_run"
input = { command = "sleep 300", label = "server" }
[[turn]]
delay_ms = 60000
text = "never"
]==])
    nvim:type("iServe<Esc><CR>")
    says(nvim, "in the background, running")
    nvim:sees("working")
    nvim:type("<C-c>")
    says(nvim, "the turn ended: cancelled")
    nvim:sees("idle .*1 in the background")
    nvim:cmd("Meanwhile stop server")
    nvim:hears("server stopped by client")
  end)

  it("tells that it has answered where that cannot be seen", function()
    local nvim = chat([==[
[[turn]]
delay_ms = 600
text = "Behind the scenes."
]==])
    nvim:type("iWork<Esc><CR>")
    says(nvim, "▌ you\nWork")
    nvim:cmd("only | enew")
    nvim:hears("the agent has answered %(:Meanwhile chat%): Work")
    nvim:cmd("Meanwhile chat")
    nvim:sees("Behind the scenes%.")
    assert.equal(1, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("answers prompts in their order, each where it belongs", function()
    local nvim = chat([==[
[[turn]]
delay_ms = 500
text = "First answer."
[[turn]]
text = "Second answer."
]==])
    nvim:type("ione<Esc><CR>")
    nvim:type("itwo<Esc><CR>")
    nvim:sees("1 prompt waits")
    local text = says(nvim, "Second answer%.")
    assert.truthy(
      text:find("one\n\n▌ agent\nFirst answer%.\n\n▌ you\ntwo\n\n▌ agent\nSecond"),
      text
    )
  end)

  it("is there again after the daemon or Neovim was killed", function()
    local nvim = chat([==[
[[turn]]
text = "Remembered."
[[turn]]
text = "Still here."
]==])
    nvim:type("iRemember this<Esc><CR>")
    says(nvim, "Remembered%.")
    nvim:sees("idle")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    harness.eventually("another daemon", function()
      return nvim:lua("return require('meanwhile.workspace').get().connection.restarts") == 1
    end)
    nvim:sees("idle")
    local text = says(nvim, "Remembered%.")
    assert.equal(1, select(2, text:gsub("Remember this", "")), text)
    nvim:type("iGo on<Esc><CR>")
    says(nvim, "Still here%.")
    local session = nvim:lua([[
      return require("meanwhile.ui.chat").current(require("meanwhile.workspace").get())
    ]])
    nvim:kill()
    local again = harness.child(place, { lines = 50, columns = 120, env = nvim.opts.env })
    again:cmd("Meanwhile chat " .. session)
    local there = says(again, "Still here%.")
    assert.truthy(there:find("Remember this"), there)
  end)

  it("has its session alone, until it lets go of it", function()
    local nvim = chat([==[
[[turn]]
text = "Mine."
]==])
    nvim:type("iHello<Esc><CR>")
    says(nvim, "Mine%.")
    local session = nvim:lua([[
      return require("meanwhile.ui.chat").current(require("meanwhile.workspace").get())
    ]])
    local other = harness.child(place, { lines = 50, columns = 120, env = nvim.opts.env })
    other:cmd("Meanwhile chat " .. session)
    says(other, "✗ [^\n]*is open in another process")
    nvim:cmd("Meanwhile! chat")
    nvim:sees("Ask for something below")
    other:type("<C-w>ks")
    local number = other:sees("%d: " .. session:sub(1, 8)):match("(%d+): " .. session:sub(1, 8))
    other:type(number .. "<CR>")
    local text = says(other, "Mine%.")
    assert.is_nil(text:find("✗"), text)
    -- And by its completion.
    other:type("<Esc>:Meanwhile chat " .. session:sub(1, 4) .. "<Tab>")
    other:sees(":Meanwhile chat " .. session:gsub("%-", "%%-"))
    other:type("<Esc>")
  end)

  it("says what to set where there is no model", function()
    local nvim = harness.child(place, { lines = 40, columns = 120 })
    nvim:cmd("Meanwhile chat")
    nvim:sees("idle")
    nvim:type("iAnybody there?<Esc><CR>")
    says(nvim, "MEANWHILE_MODEL")
    -- What was written is not lost.
    assert.equal("Anybody there?", nvim:text())
    -- Tasks work without one.
    nvim:spawn("exit 0")
    nvim:hears("exited 0")
  end)

  it("shows the timeline of a session, live and afterwards", function()
    local gate = place.root .. "/gate"
    -- No rule knows what a script does, so it is always asked.
    local script = ("until [ -e %s ]; do sleep 0.05; done; echo built; exit $1"):format(gate)
    vim.fn.writefile({ script }, place.root .. "/wait.sh")
    local nvim = chat([==[
[[turn]]
text = "I start it."
[[turn.call]]
tool = "background_run"
input = { command = "sh wait.sh 0", label = "build" }
[[turn]]
text = "It runs."
[[turn]]
text = "It is done."
]==])
    nvim:type("iBuild it<Esc><CR>")
    nvim:sees("Allow the agent:")
    nvim:type("1<CR>")
    says(nvim, "It runs%.")
    nvim:cmd("wincmd t | Meanwhile timeline")
    nvim:sees("agent +┃")
    nvim:sees("sh wait.*├.*▸")
    vim.fn.writefile({}, gate)
    local screen = nvim:sees("sh wait[^\n]*├[^\n]*◆")
    assert.truthy(screen:find("agent [^\n]*◆"), screen)
    assert.truthy(screen:find("call +1.* 3"), screen)
    nvim:type("G")
    nvim:type("K")
    nvim:sees("then entered with call 3")
    nvim:type("q")
    nvim:type("gg3j]]K")
    nvim:sees("call %d  took")
    nvim:type("q++")
    local session = nvim:lua([[
      return require("meanwhile.ui.chat").current(require("meanwhile.workspace").get())
    ]])
    nvim:quit()
    -- A past session, by the beginning of its id.
    local again = harness.child(place, { columns = 120, env = model(place, "") })
    again:cmd("Meanwhile timeline " .. session:sub(1, 6))
    screen = again:sees("sh wait[^\n]*├[^\n]*◆")
    assert.truthy(screen:find("agent [^\n]*◆"), screen)
  end)
end)

describe("the timeline", function()
  after_each(harness.clean)

  it("shows tasks where there is no session", function()
    local place = harness.place()
    local nvim = harness.child(place)
    nvim:spawn("exit 0", { label = "quick" })
    nvim:spawn("sleep 300", { label = "slow" })
    nvim:cmd("Meanwhile timeline")
    nvim:sees("slow +├[─]*.*▸")
    local screen = nvim:sees("quick +[├│]")
    assert.is_nil(screen:find("agent"))
    nvim:type("G<CR>")
    nvim:eventually("vim.bo.filetype == 'meanwhile-output'")
  end)
end)
