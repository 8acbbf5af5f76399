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

  it("know every event of a trace", function()
    local harness = require("harness")
    local schema = table.concat(vim.fn.readfile(harness.checkout .. "/docs/schema.json"), "\n")
    local defs = vim.json.decode(schema)["$defs"]
    local path = harness.plugin .. "/lua/meanwhile/sessions.lua"
    local types = table.concat(vim.fn.readfile(path), "\n")
    local kinds = types:match("%-%-%-@alias meanwhile%.TraceType\n(.-)\n\n")
    local event = types:match("%-%-%-@class meanwhile%.TraceEvent\n(.-)\n\n")
    assert.truthy(#defs.TraceEvent.oneOf >= 10)
    for _, variant in ipairs(defs.TraceEvent.oneOf) do
      local kind = variant.properties.type.const
      assert.truthy(kinds:find(("%q"):format(kind), 1, true), kind)
      for name in pairs(variant.properties) do
        local known = event:find("@field " .. name .. " ", 1, true)
          or event:find("@field " .. name .. "? ", 1, true)
        -- The place in the queue is of no use to a picture.
        assert.truthy(known or name == "seq", kind .. "." .. name)
      end
    end
    local task = types:match("%-%-%-@class meanwhile%.TraceTask\n(.-)\nlocal")
    for name in pairs(defs.TraceTask.properties) do
      local known = task:find("@field " .. name .. " ", 1, true)
        or task:find("@field " .. name .. "? ", 1, true)
      assert.truthy(known or name == "seq", name)
    end
  end)
end)
