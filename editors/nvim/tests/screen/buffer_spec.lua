local harness = require("harness")

describe("a buffer of this client", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  it("is made again after :bdelete", function()
    nvim:spawn("echo something; sleep 300", { label = "job" })
    for _, case in ipairs({
      { "list", "meanwhile-list", "job" },
      { "timeline", "meanwhile-timeline", "job" },
      { "output", "meanwhile-output", "something" },
      { "chat", "meanwhile-prompt", "Ask for something below" },
    }) do
      local name, filetype = case[1], case[2]
      -- Open the buffer again at once, or later.
      for _, between in ipairs({ "bdelete! | Meanwhile " .. name, "bdelete!" }) do
        nvim:cmd("Meanwhile " .. name)
        nvim:sees(case[3])
        assert.equal(filetype, nvim:lua("return vim.bo.filetype"))
        nvim:cmd(between)
        nvim:cmd("Meanwhile " .. name)
        nvim:sees(case[3])
        local what = name .. " after " .. between
        assert.equal(filetype, nvim:lua("return vim.bo.filetype"), what)
        nvim:type("g?")
        nvim:sees(name == "chat" and "also while writing" or "show this")
        nvim:type("q")
        nvim:eventually("vim.bo.filetype == ...", filetype)
      end
      -- No buffer is left, whether it was deleted or wiped out.
      nvim:cmd("silent! wincmd o | bdelete!")
      nvim:eventually([[#vim.tbl_filter(function(buf)
        return vim.api.nvim_buf_get_name(buf):find("^meanwhile://") ~= nil
      end, vim.api.nvim_list_bufs()) == 0]])
    end
    assert.equal(0, nvim:lua("return #_G.told"), nvim:told())
  end)

  it("says why there is no output, and starts nothing when it is closed", function()
    nvim:spawn("echo something; sleep 300", { label = "job" })
    nvim:cmd("Meanwhile list")
    nvim:sees("job")
    nvim:lua("require('meanwhile').setup({ binary = '/none' })")
    vim.uv.kill(harness.daemons(place)[1], "sigkill")
    nvim:eventually("require('meanwhile.workspace').get().connection.state == 'failed'")
    nvim:type("<CR>")
    nvim:sees("%[`/none` does not exist")
    assert.equal("meanwhile-output", nvim:lua("return vim.bo.filetype"))
    nvim:lua("require('meanwhile').setup({ binary = ... })", harness.binary)
    nvim:cmd("bwipeout!")
    assert.equal(
      "failed",
      nvim:lua([[
      return require("meanwhile.workspace").get().connection.state
    ]])
    )
    -- An output that is already open loads once the daemon runs.
    nvim:lua("require('meanwhile').setup({ binary = '/none' })")
    nvim:type("<CR>")
    nvim:sees("%[`/none` does not exist")
    nvim:lua("require('meanwhile').setup({ binary = ... })", harness.binary)
    nvim:cmd("Meanwhile restart")
    nvim:eventually([[
      table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n"):find("\nsomething\n") ~= nil
    ]])
  end)

  it("runs a task again with its terminal and environment, in the same window", function()
    local gate = harness.gate(place)
    local id = nvim:spawn(
      "test -t 1 && echo in a terminal $OF_SPAWN; " .. gate.wait,
      { pty = true, env = { OF_SPAWN = "kept" }, label = "job", queue = "mine" }
    )
    nvim:cmd("Meanwhile output")
    nvim:sees("in a terminal kept")
    local windows = nvim:lua("return vim.api.nvim_list_wins()")
    nvim:type("r")
    nvim:eventually("vim.fn.bufname() ~= ...", "meanwhile://output/" .. id)
    nvim:sees("in a terminal kept")
    assert.same(windows, nvim:lua("return vim.api.nvim_list_wins()"))
    local new = nvim:lua("return vim.fn.bufname()"):match("%x+$")
    assert.equal("mine", nvim:task(new).queue)
    assert.equal("stopped", nvim:task(id).state)
    assert.equal("", nvim:told())
    gate:open()
  end)

  it("runs a task again as it was, and shows that one", function()
    nvim:lua("vim.go.errorformat = '%f|%l|%m'")
    vim.fn.writefile({ "one", "two" }, place.root .. "/main.x")
    local id = nvim:spawn("echo 'main.x|2|no such thing'; exit 1", { label = "job" })
    nvim:hears("job exited 1")
    nvim:cmd("Meanwhile output")
    nvim:sees("job · exit 1")
    nvim:lua("require('meanwhile').setup({ quickfix = 'failed' })")
    nvim:type("r")
    nvim:eventually(
      "vim.fn.bufname() ~= ... and vim.bo.filetype == 'meanwhile-output'",
      "meanwhile://output/" .. id
    )
    local name = nvim:lua("return vim.fn.bufname()")
    local new = name:match("%x+$")
    assert.equal("job", nvim:task(new).label)
    -- The new task has the old one's errorformat and fills the list at its end.
    nvim:eventually("#vim.fn.getqflist() == 1")
    assert.equal("no such thing", nvim:lua("return vim.fn.getqflist()[1].text"))
  end)
end)
