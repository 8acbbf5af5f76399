--- Fills the quickfix list from the output of a task, by 'errorformat'. Adds a new list, so `:colder` goes
--- back to the one before; never opens a window and never jumps.

local config = require("meanwhile.config")
local format = require("meanwhile.format")
local tell = require("meanwhile.tell")

local M = {}

--- How many bytes are read, from the end of the output; compilers write less.
M.most = 2 * 1024 * 1024

--- Splits output into lines, without colours and without text that a carriage return overwrites.
---@param text string
---@return string[]
function M.lines(text)
  local lines = vim.split(format.plain(text), "\n", { plain = true })
  if lines[#lines] == "" then
    lines[#lines] = nil
  end
  return lines
end

--- Creates the list.
---@param task meanwhile.Task
---@param text string
---@param efm string
---@return integer valid how many entries have a location
function M.set(task, text, efm)
  local lines = M.lines(text)
  -- File names are relative to the directory of the command.
  table.insert(lines, 1, "meanwhile: in directory " .. task.cwd)
  vim.fn.setqflist({}, " ", {
    title = ("meanwhile: %s (%s)"):format(format.name(task), format.state(task)),
    lines = lines,
    efm = "%Dmeanwhile: in directory %f," .. efm,
    context = { meanwhile = task.id },
  })
  local items = vim.fn.getqflist()
  if items[1] and items[1].valid == 0 and vim.startswith(items[1].text, "meanwhile: in ") then
    table.remove(items, 1)
    vim.fn.setqflist({}, "r", { items = items })
  end
  local valid, first = 0, nil
  for i, item in ipairs(items) do
    valid = valid + item.valid
    first = first or (item.valid == 1 and i or nil)
  end
  -- Select the first entry with a location, for `:cc`.
  if first then
    vim.fn.setqflist({}, "a", { idx = first })
  end
  return valid
end

--- Reads the end of the output and creates the list.
---@param workspace meanwhile.Workspace
---@param id string
---@param done? fun(valid: integer)
function M.fill(workspace, id, done)
  workspace:check(id, function(err, task)
    if err or not task then
      return tell.failure(err)
    end
    local efm = workspace.efm[id] or config.errorformat(task.command)
    local parts = {}
    local from = math.max(0, task.output.total - M.most)
    -- Read one byte more: if it is a newline, the line after it is complete.
    local partial = from > 0
    from = math.max(0, from - 1)
    workspace:read(id, from, 2 ^ 52, "utf8", function(read)
      table.insert(parts, read.data)
    end, function(failure)
      if failure then
        return tell.failure(failure)
      end
      local text = table.concat(parts)
      if partial then
        -- Drop the incomplete first line.
        text = text:gsub("^[^\n]*\n?", "", 1)
      end
      local valid = M.set(task, text, efm)
      if done then
        done(valid)
      elseif valid == 0 then
        tell.warn(("no line in the output of %s matches 'errorformat'"):format(format.name(task)))
      else
        tell.info(("%d place%s found (:copen)"):format(valid, valid == 1 and "" or "s"))
      end
    end)
  end)
end

--- Fills the list when the task ends, if the option `quickfix` says so.
---@param handle meanwhile.Handle
function M.arrange(handle)
  handle:on_exit(function(task)
    local wanted = config.get().quickfix
    if task and wanted and (wanted == true or format.outcome(task) == "failed") then
      M.fill(handle.workspace, task.id, function() end)
    end
  end)
end

return M
