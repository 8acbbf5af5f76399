local harness = require("harness")

--- @param path string
local function read(path)
  return table.concat(vim.fn.readfile(harness.plugin .. "/" .. path), "\n")
end

describe("the help", function()
  local help = read("doc/meanwhile.txt")

  local function has(tag)
    assert.truthy(help:find("*" .. tag .. "*", 1, true), tag .. " is not in the help")
  end

  it("is found by its tags, which are those of its text", function()
    local dir = vim.fn.tempname()
    vim.fn.mkdir(dir, "p")
    vim.fn.writefile(
      vim.fn.readfile(harness.plugin .. "/doc/meanwhile.txt"),
      dir .. "/meanwhile.txt"
    )
    vim.cmd.helptags(dir)
    local made = table.concat(vim.fn.readfile(dir .. "/tags"), "\n")
    assert.equal(made, read("doc/tags"), ":helptags editors/nvim/doc brings them up to date")
  end)

  it("has every command", function()
    for name in pairs(require("meanwhile.command").subcommands) do
      has(":Meanwhile-" .. name)
    end
  end)

  it("has every function", function()
    local count = 0
    for name in pairs(require("meanwhile")) do
      has("meanwhile." .. name .. "()")
      count = count + 1
    end
    assert.truthy(count >= 7)
    for name in pairs(require("meanwhile.task")) do
      local internal = vim.startswith(name, "_")
        or vim.list_contains({ "new", "of", "settle", "finish", "with_id" }, name)
      if not internal then
        has("Handle:" .. name .. "()")
      end
    end
  end)

  it("has every option, with its default", function()
    local defaults = help:match("vim%.g%.meanwhile = (%b{})")
    local shown = assert(loadstring("return " .. defaults))()
    assert.same(require("meanwhile.config").defaults, shown)
    local types = read("lua/meanwhile/types.lua")
    local class = types:match("%-%-%-@class meanwhile%.Opts\n(.-)\n\n")
    local count = 0
    for name in class:gmatch("%-%-%-@field ([%w_]+)") do
      has("meanwhile-opt-" .. name)
      count = count + 1
    end
    assert.equal(17, count)
  end)

  it("has every map, event and highlight", function()
    for name in read("plugin/meanwhile.lua"):gmatch("\n  (%u%l+) = ") do
      has("<Plug>(Meanwhile" .. name .. ")")
    end
    for name in read("lua/meanwhile/workspace.lua"):gmatch('"(MeanwhileTask%u%l+)"') do
      has(name)
    end
    for name in read("lua/meanwhile/ui/view.lua"):match("local links = (%b{})"):gmatch("(%u%l+) =") do
      assert.truthy(help:find("`Meanwhile" .. name .. "`", 1, true), name)
    end
  end)
end)
