--- The handle of a task. `require("meanwhile").spawn{...}` returns it at once, even before the daemon is
--- running.

local format = require("meanwhile.format")

---@class meanwhile.Handle
---@field id? string absent until the daemon has answered
---@field workspace meanwhile.Workspace
---@field error? meanwhile.Error why there is no task, or why its end is unknown
---@field private ended? meanwhile.Task the ended task, kept even after it is forgotten
---@field private unsettled fun()[] callbacks that wait for the id or an error
---@field private waiting fun(task?: meanwhile.Task, err?: meanwhile.Error)[]
local Handle = {}
Handle.__index = Handle

--- Creates a handle whose task has not been started yet.
---@param workspace meanwhile.Workspace
---@return meanwhile.Handle
function Handle.new(workspace)
  return setmetatable({ workspace = workspace, waiting = {}, unsettled = {} }, Handle)
end

--- Creates the handle of a known task.
---@param workspace meanwhile.Workspace
---@param id string
---@return meanwhile.Handle
function Handle.of(workspace, id)
  local self = Handle.new(workspace)
  self:settle(nil, id)
  return self
end

--- Called with the daemon's answer: the id of the task, or the reason why there is none.
---@param err? meanwhile.Error
---@param id? string
function Handle:settle(err, id)
  self.error, self.id = err, id
  local unsettled = self.unsettled
  self.unsettled = {}
  for _, fn in ipairs(unsettled) do
    vim.schedule(fn)
  end
  if err then
    return self:finish(nil, err)
  end
  local task = self:info()
  if task and format.ended(task) then
    self.ended = task
    return self:finish(task)
  end
  local offs = {}
  local function over(ended, failure)
    for _, off in ipairs(offs) do
      off()
    end
    self.ended, self.error = ended, failure
    self:finish(ended, failure)
  end
  offs[1] = self.workspace:on("exited", function(ended)
    if ended.id == id then
      over(ended)
    end
  end)
  offs[2] = self.workspace:on("forgotten", function(forgotten)
    if forgotten == id then
      -- Another client removed the task before this one learned of its end.
      over(nil, { code = 1001, message = ("task `%s` was forgotten"):format(id) })
    end
  end)
end

---@private
---@param task? meanwhile.Task
---@param err? meanwhile.Error
function Handle:finish(task, err)
  local waiting = self.waiting
  self.waiting = {}
  for _, fn in ipairs(waiting) do
    vim.schedule(function()
      fn(task, err)
    end)
  end
end

--- The task in its current state; nil until the daemon has answered, and after the task was removed.
---@return meanwhile.Task?
function Handle:info()
  return self.id and self.workspace.tasks[self.id]
end

--- Whether the task has ended or could not be started.
---@return boolean
function Handle:done()
  return self.error ~= nil or self.ended ~= nil
end

--- Calls `fn` once the task has ended, at once if it has already, or with an error if it never started.
---@param fn fun(task?: meanwhile.Task, err?: meanwhile.Error)
---@return meanwhile.Handle self
function Handle:on_exit(fn)
  table.insert(self.waiting, fn)
  if self:done() then
    self:finish(self.ended, self.error)
  end
  return self
end

--- Waits for the end of the task while Neovim handles events; CTRL-C stops only the waiting.
---@param timeout? integer milliseconds; default: no limit
---@return meanwhile.Task? task nil if it never started or the wait timed out
---@return meanwhile.Error? err
function Handle:wait(timeout)
  local ended = vim.wait(timeout or 2 ^ 31 - 1, function()
    return self:done()
  end, 20)
  if self.error then
    return nil, self.error
  elseif not ended then
    return nil, { code = -32000, message = "the task has not ended yet; it keeps running" }
  end
  return self.ended
end

--- Calls `fn` with the id, now or once it is known.
---@private
---@param fn fun(id: string)
---@param failed? fun(err: meanwhile.Error)
function Handle:with_id(fn, failed)
  if self.id then
    return fn(self.id)
  elseif self.error then
    return failed and failed(self.error)
  end
  table.insert(self.unsettled, function()
    self:with_id(fn, failed)
  end)
end

--- Stops the task and everything it started.
---@param opts? { signal?: string, grace?: integer }
---@param done? fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Handle:stop(opts, done)
  self:with_id(function(id)
    self.workspace:stop(id, opts, done)
  end, done)
end

--- Reads the output so far, without parts that were not kept.
---@param done fun(text?: string, err?: meanwhile.Error)
function Handle:output(done)
  self:with_id(function(id)
    local parts = {}
    self.workspace:read(id, 0, 2 ^ 52, "utf8", function(read)
      table.insert(parts, read.data)
    end, function(err)
      done(not err and table.concat(parts) or nil, err)
    end)
  end, function(err)
    done(nil, err)
  end)
end

--- Writes to the task's terminal. Only for tasks with `pty`.
---@param data string
---@param done? fun(err?: meanwhile.Error)
function Handle:write(data, done)
  self:with_id(function(id)
    self.workspace:request("task/write", { id = id, data = data }, function(err)
      if done then
        done(err)
      end
    end)
  end, done)
end

--- Opens the output of the task.
function Handle:show()
  self:with_id(function(id)
    require("meanwhile.ui.output").open(self.workspace, id)
  end)
end

--- Fills the quickfix list from the output.
function Handle:quickfix()
  self:with_id(function(id)
    require("meanwhile.quickfix").fill(self.workspace, id)
  end)
end

return Handle
