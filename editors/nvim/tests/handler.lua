-- The output of busted: each test as it ends, each failure in full, and a last line with the counts.
local busted = require("busted")

return function()
  local handler = require("busted.outputHandlers.base")()
  local passed, failed = 0, 0

  handler.testEnd = function(element, _, status)
    local name = handler.getFullName(element)
    if status == "success" then
      passed = passed + 1
    else
      failed = failed + 1
    end
    io.write(("%s %s\n"):format(status == "success" and "ok  " or "FAIL", name))
    io.flush()
    return nil, true
  end

  local function fault(element, _, message, debug)
    if element.descriptor ~= "it" then
      failed = failed + 1
    end
    io.write(("---- %s: %s\n"):format(handler.getFullName(element), tostring(message)))
    if debug and debug.traceback then
      io.write(debug.traceback .. "\n")
    end
    return nil, true
  end

  handler.suiteEnd = function()
    io.write(("%d passed, %d failed\n"):format(passed, failed))
    io.flush()
    return nil, true
  end

  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "failure" }, fault)
  busted.subscribe({ "error" }, fault)
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
