--- `:checkhealth meanwhile`: reports what the plugin found, and how to fix problems.

local M = {}

local health = vim.health

local function editor()
  health.start("meanwhile: Neovim")
  health.ok(tostring(vim.version()))
  if vim.fn.has("linux") == 0 then
    health.error("meanwhile runs on Linux only")
  end
end

---@return meanwhile.Binary?
local function daemon()
  health.start("meanwhile: the daemon's binary")
  local found, problem, answered
  require("meanwhile.binary").resolve(require("meanwhile.config").get().binary, function(...)
    found, problem = ...
    answered = true
  end)
  vim.wait(15000, function()
    return answered
  end)
  if not found then
    health.error(problem or "it does not answer")
    return nil
  end
  health.ok(("`%s`, from %s"):format(found.path, found.source))
  health.ok("version " .. found.version)
  return found
end

---@param found meanwhile.Binary
local function machine(found)
  health.start("meanwhile: the machine (`meanwhile doctor`)")
  local env = require("meanwhile.config").get().env
  local ok, out = pcall(function()
    local opts = { text = true, timeout = 20000, env = env }
    return vim.system({ found.path, "doctor" }, opts):wait()
  end)
  if not ok then
    return health.error(tostring(out))
  end
  local report, text, advice = nil, nil, {}
  local function flush()
    if report then
      report(text, #advice > 0 and advice or nil)
    end
    report, advice = nil, {}
  end
  for line in vim.gsplit(out.stdout or "", "\n", { trimempty = true }) do
    -- Indented lines are advice on the finding above; the last line, a count, is ignored.
    local word, rest = line:match("^(%l+)%s%s+(.+)$")
    if word then
      flush()
      report = word == "ok" and health.ok or word == "warn" and health.warn or health.error
      text = rest:gsub("%s%s+", ": ", 1)
    elseif line:match("^%s") then
      table.insert(advice, vim.trim(line))
    end
  end
  flush()
  if out.code ~= 0 then
    local said = vim.trim(out.stderr or "")
    health.error(said ~= "" and said or "something is missing")
  end
end

local function options()
  health.start("meanwhile: options")
  local config = require("meanwhile.config")
  local problems = config.problems(config.given())
  for _, problem in ipairs(problems) do
    health.error(problem, "see `:help meanwhile-options`")
  end
  if #problems == 0 then
    health.ok(vim.g.meanwhile == nil and "none set; the defaults apply" or "all known")
  end
end

local function connections()
  health.start("meanwhile: daemons of this Neovim")
  local any = false
  for root, workspace in vim.spairs(require("meanwhile.workspace").all) do
    any = true
    local connection = workspace.connection
    local count = vim.tbl_count(workspace.tasks)
    local text = ("%s: %s, %d tasks known, started again %d times"):format(
      root,
      connection.state,
      count,
      connection.restarts
    )
    if connection.state == "failed" then
      health.error(text .. ": " .. connection.problem, "`:Meanwhile restart` tries again")
    else
      health.ok(text)
    end
  end
  if not any then
    health.info("none yet: the first use starts one")
  end
end

function M.check()
  editor()
  options()
  local found = daemon()
  if found then
    machine(found)
  end
  connections()
end

return M
