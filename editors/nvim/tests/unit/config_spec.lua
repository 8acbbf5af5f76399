local config = require("meanwhile.config")

describe("options", function()
  after_each(function()
    vim.g.meanwhile = nil
  end)

  it("lie over the defaults", function()
    vim.g.meanwhile = { output = { tail = 10 } }
    assert.equal(10, config.get().output.tail)
    assert.equal(config.defaults.output.open, config.get().output.open)
    assert.is_true(config.get().notify)
  end)

  it("may come from a function", function()
    vim.g.meanwhile = function()
      return { notify = false }
    end
    assert.is_false(config.get().notify)
  end)

  it("are named where they are wrong", function()
    local cases = {
      { { binry = "x" }, "`vim.g.meanwhile.binry` is not an option" },
      { { binary = 3 }, "`vim.g.meanwhile.binary` is a number, expected string" },
      { { output = { tail = "x" } }, "`vim.g.meanwhile.output.tail` is a string, expected number" },
      { { icons = "emoji" }, '`vim.g.meanwhile.icons` is neither "unicode" nor "ascii"' },
      { { linger = true }, "`vim.g.meanwhile.linger` is true, expected milliseconds or false" },
      { "x", "`vim.g.meanwhile` is a string, expected a table" },
    }
    for _, case in ipairs(cases) do
      assert.same({ case[2] }, config.problems(case[1]))
    end
    assert.same({}, config.problems({ notify = false, root = "/w", linger = false }))
  end)

  it("hold by default where they are wrong", function()
    local notify = vim.notify
    local told = {}
    vim.notify = function(text)
      table.insert(told, text)
    end
    vim.g.meanwhile = { notify = "yes", queue = "mine" }
    local got = config.get()
    config.get()
    vim.wait(1000, function()
      return #told > 0
    end)
    vim.notify = notify
    assert.is_true(got.notify)
    assert.equal("mine", got.queue)
    assert.equal(1, #told)
    assert.truthy(told[1]:find("notify", 1, true))
  end)
end)

describe("the types", function()
  it("have every field of the daemon's schema", function()
    local harness = require("harness")
    local schema = table.concat(vim.fn.readfile(harness.checkout .. "/docs/schema.json"), "\n")
    local defs = vim.json.decode(schema)["$defs"]
    local types = table.concat(vim.fn.readfile(harness.plugin .. "/lua/meanwhile/types.lua"), "\n")
    for class, def in pairs({ Task = "Task", Notification = "Notification", Read = "ReadResult" }) do
      local body = types:match("%-%-%-@class meanwhile%." .. class .. "[^\n]*\n(.-)\n\n")
      local fields = {}
      for name, optional in body:gmatch("%-%-%-@field (%w+)(%??)") do
        fields[name] = optional == "" and "required" or "optional"
      end
      local expected = {}
      for name in pairs(defs[def].properties) do
        expected[name] = vim.list_contains(defs[def].required, name) and "required" or "optional"
      end
      assert.same(expected, fields)
    end
  end)

  it("know every piece of a timeline, and every look is drawn", function()
    local harness = require("harness")
    local lanes = require("meanwhile.lanes")
    local schema = table.concat(vim.fn.readfile(harness.checkout .. "/docs/schema.json"), "\n")
    local defs = vim.json.decode(schema)["$defs"]
    local types = table.concat(vim.fn.readfile(harness.plugin .. "/lua/meanwhile/types.lua"), "\n")
    local class = types:match("%-%-%-@class meanwhile%.Piece[^\n]*\n(.-)\n\n")
    assert.equal(5, #defs.Piece.oneOf)
    for _, variant in ipairs(defs.Piece.oneOf) do
      for name in pairs(variant.properties) do
        local known = class:find("@field " .. name .. " ", 1, true)
          or class:find("@field " .. name .. "? ", 1, true)
        -- `row` is for pieces side by side, which the plugin does not draw.
        assert.truthy(known or name == "row", name)
      end
    end
    local looks = {}
    for _, variant in ipairs(defs.Look.oneOf) do
      local look = variant.const
      local lane = { type = "lane", key = "a", kind = "task", label = "a" }
      local at = "2026-11-22T10:00:00Z"
      local one = { type = "segment", key = "s", lane = "a", look = look, from = at, label = look }
      local picture = lanes.picture({ lane, one })
      assert.truthy(
        lanes.legend({ { look = look, label = "" } }, picture, "ascii", 9)[1] ~= "",
        look
      )
      table.insert(looks, look)
    end
    assert.truthy(#looks > 10)
  end)
end)
