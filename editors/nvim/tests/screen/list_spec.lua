local harness = require("harness")

describe("the list", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  it("shows tasks with their outcome and follows them", function()
    nvim:cmd("Meanwhile list")
    nvim:sees("No tasks yet")
    nvim:spawn("exit 0", { label = "good" })
    nvim:spawn("exit 9", { label = "bad" })
    nvim:spawn("printf '\\r[42%%] compiling'; sleep 300", { label = "slow" })
    nvim:sees("1 running, 1 failed, 3 in all")
    nvim:sees("● running 42%%.*slow.*━━━━──────")
    local lines = vim.split(nvim:sees("✓ exit 0.*good"), "\n")
    local order = {}
    for _, line in ipairs(lines) do
      table.insert(order, line:match("slow") or line:match("bad") or line:match("good"))
    end
    assert.equal("slow", order[1], "what runs comes first")
    assert.truthy(table.concat(lines, "\n"):find("✗ exit 9.*bad"))
  end)

  it("stops, runs again and opens by its keys", function()
    nvim:spawn("echo once; sleep 300", { label = "job" })
    nvim:cmd("Meanwhile list")
    nvim:sees("● running.*job")
    nvim:type("x")
    nvim:sees("■ stopped by client.*job")
    nvim:type("r")
    nvim:sees("1 running.*2 in all")
    nvim:sees("● running.*job")
    -- The cursor has stayed on the stopped task.
    nvim:type("gg/running  <CR><CR>")
    nvim:sees("once")
    -- The output window takes its lines from the code, so the list is still visible.
    nvim:sees("1 running, 0 failed, 2 in all")
    assert.truthy(nvim:lua("return vim.api.nvim_buf_get_name(0)"):find("meanwhile://output/"))
    nvim:type("q")
    nvim:eventually("vim.bo.filetype == 'meanwhile-list'")
    nvim:type("q")
    nvim:eventually("#vim.api.nvim_list_wins() == 1")
  end)

  it("copies an id, shows details and stops what is selected", function()
    local ids =
      { nvim:spawn("sleep 300", { label = "one" }), nvim:spawn("sleep 300", { label = "two" }) }
    table.insert(ids, nvim:spawn("sleep 300", { label = "three" }))
    nvim:cmd("Meanwhile list")
    nvim:sees("3 running")
    nvim:type("/ one  <CR>y")
    nvim:hears("copied " .. ids[1])
    assert.equal(ids[1], nvim:lua("return vim.fn.getreg('\"')"))
    nvim:type("K")
    nvim:sees("directory +" .. place.root:gsub("%-", "%%-"))
    nvim:type("q")
    nvim:eventually("vim.bo.filetype == 'meanwhile-list'")
    -- The newest comes first.
    nvim:type("/ three  <CR>Vjx")
    nvim:sees("1 running")
    assert.equal("stopped", nvim:task(ids[3]).state)
    assert.equal("stopped", nvim:task(ids[2]).state)
    assert.equal("running", nvim:task(ids[1]).state)
    assert.equal("n", nvim:lua("return vim.fn.mode()"))
  end)

  it("shows its keys by ?", function()
    nvim:cmd("Meanwhile list")
    nvim:sees("No tasks yet")
    nvim:type("?")
    local screen = nvim:sees("stop, with all its processes")
    assert.truthy(screen:find("fill the quickfix list"))
    nvim:type("q")
    nvim:eventually("vim.bo.filetype == 'meanwhile-list'")
  end)

  it("filters, forgets one and forgets all", function()
    for i = 1, 3 do
      nvim:spawn("exit " .. (i - 1), { label = "number" .. i })
    end
    nvim:cmd("Meanwhile list")
    nvim:sees("0 running, 2 failed, 3 in all")
    nvim:type("ffailed number3<CR>")
    nvim:sees("showing 1 with “failed number3”")
    -- Not on the screen, whose last line may still tell of an end.
    assert.truthy(nvim:text():find("number3"))
    assert.is_nil(nvim:text():find("number2"))
    nvim:type("dd")
    nvim:sees("0 running, 1 failed, 2 in all")
    nvim:sees("No task matches the filter")
    nvim:type("f<C-u><CR>")
    nvim:sees("number2")
    nvim:type("D")
    nvim:sees("No tasks yet")
    nvim:hears("forgot 2 finished tasks")
    local left = vim.json.decode(harness.cli(place, "ps", "--json").stdout)
    assert.same({}, left.tasks or left)
  end)

  it("does not lag with 500 tasks", function()
    nvim:lua([[
      for i = 1, 500 do require("meanwhile").spawn({ { "true" }, label = "task " .. i }) end
    ]])
    nvim:eventually([[#vim.tbl_filter(function(t) return t.state == "exited" end,
      require("meanwhile").list()) == 500]])
    nvim:spawn("sleep 300", { label = "last" })
    nvim:cmd("Meanwhile list")
    nvim:sees("1 running, 0 failed, 501 in all")
    -- The CPU time of redrawing everything, with keys in between.
    local took = nvim:lua([[
      local workspace = require("meanwhile.workspace").get()
      local from = os.clock()
      for _ = 1, 10 do
        workspace:emit("tasks")
        vim.cmd("normal! j")
        vim.cmd("redraw")
      end
      return (os.clock() - from) * 1000 / 10
    ]])
    assert.truthy(took < 100, ("%d ms for one drawing"):format(took))
    assert.equal(502, nvim:lua("return vim.fn.line('$')"))
  end)

  it("shows what another client of the workspace does", function()
    local other = harness.child(place)
    nvim:cmd("Meanwhile list")
    nvim:sees("No tasks yet")
    local id = other:spawn("sleep 300", { label = "theirs" })
    nvim:sees("● running.*theirs")
    local made =
      vim.trim(harness.cli(place, "spawn", "--label", "shell", "--", "sleep", "300").stdout)
    nvim:sees("shell")
    other:eventually("require('meanwhile.workspace').get().tasks[...] ~= nil", made)
    -- One Neovim stops the task of the other, and both show it.
    nvim:cmd("Meanwhile stop " .. id)
    other:eventually("require('meanwhile.workspace').get().tasks[...].state == 'stopped'", id)
  end)
end)
