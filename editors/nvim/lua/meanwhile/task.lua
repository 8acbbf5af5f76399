--- The handle of a task: what `require("meanwhile").spawn{...}` returns, at once, whether or not the
--- daemon runs yet.

local format = require("meanwhile.format")

---@class meanwhile.Handle
---@field id? string absent until the daemon has answered
---@field workspace meanwhile.Workspace
---@field error? meanwhile.Error why there is no task, or nothing known of its end
---@field private ended? meanwhile.Task as it ended, kept though the task is forgotten
---@field private unsettled fun()[] what waits for the id
---@field private waiting fun(task?: meanwhile.Task, err?: meanwhile.Error)[]
local Handle = {}
Handle.__index = Handle

--- A handle without a task yet.
---@param workspace meanwhile.Workspace
---@return meanwhile.Handle
function Handle.new(workspace)
  return setmetatable({ workspace = workspace, waiting = {}, unsettled = {} }, Handle)
end

--- The handle of a task that is known.
---@param workspace meanwhile.Workspace
---@param id string
---@return meanwhile.Handle
function Handle.of(workspace, id)
  local self = Handle.new(workspace)
  self:settle(nil, id)
  return self
end

--- The daemon has answered: there is a task, or a reason why there is none.
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
      -- Another client did that, before this one heard of the end.
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

--- The task as it stands; nil while the daemon has not answered, and once it was removed.
---@return meanwhile.Task?
function Handle:info()
  return self.id and self.workspace.tasks[self.id]
end

--- Whether it will not change any more.
---@return boolean
function Handle:done()
  return self.error ~= nil or self.ended ~= nil
end

--- Calls `fn` once it has ended, or at once if it has, or with an error where it never began.
---@param fn fun(task?: meanwhile.Task, err?: meanwhile.Error)
---@return meanwhile.Handle self
function Handle:on_exit(fn)
  table.insert(self.waiting, fn)
  if self:done() then
    self:finish(self.ended, self.error)
  end
  return self
end

--- Waits while Neovim goes on working; CTRL-C ends the waiting, not the task.
---@param timeout? integer milliseconds; default: for ever
---@return meanwhile.Task? task nil where it never began or the time is over
---@return meanwhile.Error? err
function Handle:wait(timeout)
  local ended = vim.wait(timeout or 2 ^ 31 - 1, function()
    return self:done()
  end, 20)
  if self.error then
    return nil, self.error
  elseif not ended then
    return nil, { code = -32000, message = "it has not ended yet; it goes on" }
  end
  return self.ended
end

--- Calls `fn` with the id, now or when it is known.
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

--- Stops it and everything it started.
---@param opts? { signal?: string, grace?: integer }
---@param done? fun(err?: meanwhile.Error, task?: meanwhile.Task)
function Handle:stop(opts, done)
  self:with_id(function(id)
    self.workspace:stop(id, opts, done)
  end, done)
end

--- Its output, up to what there is now, without what was not kept.
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

--- Writes to its standard input, or ends it. Only for tasks with `pty`.
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

--- Opens its output.
function Handle:show()
  self:with_id(function(id)
    require("meanwhile.ui.output").open(self.workspace, id)
  end)
end

--- Fills the quickfix list from its output.
function Handle:quickfix()
  self:with_id(function(id)
    require("meanwhile.quickfix").fill(self.workspace, id)
  end)
end

return Handle
