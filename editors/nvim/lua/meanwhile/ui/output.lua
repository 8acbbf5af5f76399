--- The output of a task in a terminal buffer: colours, redrawn lines, scroll-back, and input for tasks
--- that accept it.
---
--- Reads the end first and follows from there, so that output of any size opens at once; a key reads
--- earlier output. Gaps between pushes are filled by reading; if the buffer is too far behind, it skips
--- ahead and says so. Errorformat and the API read the raw bytes, never this buffer.

local actions = require("meanwhile.actions")
local config = require("meanwhile.config")
local format = require("meanwhile.format")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@type { rows: integer, cols: integer }?
local seen

--- The size for a terminal that no window shows yet: that of the last output window, else a guess.
---@return { rows: integer, cols: integer }
function M.size()
  return seen or { rows = 15, cols = math.max(20, vim.o.columns) }
end

---@class meanwhile.Output
---@field workspace meanwhile.Workspace
---@field id string
---@field buf integer
---@field channel integer
---@field from integer the first byte shown
---@field next integer the byte after the last one shown
---@field pushed_to integer the byte after the last one that was pushed
---@field begun boolean whether the daemon has reported how much output there is
---@field reading boolean
---@field ended boolean whether the line with the task's end has been written
---@field grown boolean whether more output came during a read
---@field partial boolean whether the next piece starts in the middle of a line
---@field open_line boolean whether the last line is incomplete
---@field skipped boolean
---@field warned boolean
---@field claimed? { rows: integer, cols: integer } the size last sent for the task
local Output = {}
Output.__index = Output

---@type table<string, meanwhile.Output> by root and id
local outputs = {}

--- How many bytes the buffer may be behind before it skips to the end.
local behind_most = 4 * 1024 * 1024
--- How many bytes one turn of the event loop feeds to the terminal: some milliseconds of work.
local feed_bytes = 48 * 1024

--- The colours of the last line by 'background': a terminal's own green and yellow are hard to read on a
--- light one.
local colours = {
  dark = { ok = "32", failed = "31", lost = "31", stopped = "33" },
  light = { ok = "38;5;22", failed = "38;5;88", lost = "38;5;88", stopped = "38;5;94" },
}

--- Text of this plugin in the output, dimmed.
---@param text string
---@return string
local function note(text)
  return ("\27[0m\27[2m%s\27[0m\r\n"):format(text)
end

--- Replaces newlines by CR LF, as a terminal expects.
---@param text string
---@return string
local function returned(text)
  return (text:gsub("\n", "\r\n"))
end

---@param text string
function Output:write(text)
  if vim.api.nvim_buf_is_valid(self.buf) then
    vim.api.nvim_chan_send(self.channel, text)
  end
end

--- Writes the last line, which says how the task ended.
---@private
---@param task meanwhile.Task
function Output:finish(task)
  if self.ended then
    return
  end
  self.ended = true
  local colour = colours[vim.o.background][format.outcome(task)] or "0"
  -- Start a new line if the output did not end with one.
  local lead = self.open_line and "\r\n" or ""
  self:write(("%s\27[0m\27[%sm[%s]\27[0m\r\n"):format(lead, colour, format.ending(task)))
end

---@private
---@param data string raw bytes
function Output:append(data)
  if self.partial and data ~= "" then
    self.partial = false
    data = data:sub((data:find("\n", 1, true) or 0) + 1)
  end
  if data ~= "" then
    self.open_line = data:sub(-1) ~= "\n"
    self:write(returned(data))
  end
end

--- Decodes the bytes of a push or a response.
---@param message { data: string, encoding: string }
---@return string
local function bytes_of(message)
  return message.encoding == "base64" and vim.base64.decode(message.data) or message.data
end

--- Reads up to the end, one piece for each turn of the event loop.
---@private
function Output:catch_up()
  if self.reading then
    self.grown = true
    return
  end
  self.reading, self.grown = true, false
  local channel = self.channel
  local params = { id = self.id, offset = self.next, limit = feed_bytes, encoding = "base64" }
  self.workspace:request("task/read", params, function(err, read)
    if channel ~= self.channel then
      -- The response was for an earlier terminal.
      return
    end
    self.reading = false
    if not vim.api.nvim_buf_is_valid(self.buf) then
      return
    elseif err then
      if not err.told then
        self:write(note("[" .. err.message .. "]"))
      end
      return
    end
    if read.gap then
      local lost = format.bytes(read.gap.to - read.gap.from)
      self:write((self.open_line and "\r\n" or "") .. note(("[%s were not kept]"):format(lost)))
      self.partial = true
    end
    self:append(bytes_of(read))
    local moved = read.nextOffset > self.next
    self.next = math.max(self.next, read.nextOffset)
    local task = self.workspace.tasks[self.id]
    -- Pushes give the total while the task runs; the task itself gives it once it has ended.
    local total = math.max(self.pushed_to, task and task.output.total or 0)
    if total - self.next > behind_most then
      self:skip(total)
    elseif read.eof then
      if task and format.ended(task) then
        self:finish(task)
      else
        self.workspace:check(self.id, function(_, now)
          if channel == self.channel and now and format.ended(now) then
            self:finish(now)
          end
        end)
      end
      return
    end
    if moved or self.grown then
      -- Let the editor handle other events before the next piece.
      vim.defer_fn(function()
        self:catch_up()
      end, 1)
    end
  end, { again = true })
end

--- Skips to the tail of the output, which comes faster than anyone can read.
---@private
---@param total integer
function Output:skip(total)
  local to = total - config.get().output.tail
  if to > self.next then
    local skipped = format.bytes(to - self.next)
    self:write(("\r\n%s"):format(note(("[%s skipped; o reads them]"):format(skipped))))
    self.skipped, self.partial = true, true
    self.next = to
  end
end

---@private
---@param push { id: string, offset: integer, data: string, encoding: string }
function Output:pushed(push)
  if push.id ~= self.id then
    return
  end
  local data = bytes_of(push)
  self.pushed_to = math.max(self.pushed_to, push.offset + #data)
  if self.reading then
    self.grown = true
    return
  end
  if push.offset == self.next then
    self:append(data)
    self.next = push.offset + #data
  elseif push.offset + #data > self.next then
    if push.offset - self.next > behind_most then
      self:skip(push.offset + #data)
    end
    self:catch_up()
  end
end

--- Shows the output from offset `from` on, and subscribes to more.
---@private
---@param from integer
function Output:begin(from)
  self.from, self.next, self.ended, self.open_line = from, from, false, false
  self.reading, self.skipped = false, false
  -- The first piece most likely starts in the middle of a line.
  self.partial = from > 0
  if from > 0 then
    self:write(note(("[%s before this; o reads more of it]"):format(format.bytes(from))))
  end
  self:subscribe()
end

---@private
function Output:subscribe()
  self.workspace:request("task/subscribe", { id = self.id }, function(err)
    -- An ended task cannot be subscribed to; the read reports other errors.
    if err and err.told then
      return
    end
    self:catch_up()
  end, { again = true })
end

--- Creates the buffer; the caller shows it in windows.
---@private
function Output:make()
  self.buf = vim.api.nvim_create_buf(false, true)
  vim.bo[self.buf].bufhidden = "hide"
  view.all_or_nothing(self.buf)
  self:map()
end

--- Creates the terminal, with the size of the window that shows the buffer.
---@private
function Output:terminal()
  vim.bo[self.buf].scrollback = config.get().output.scrollback
  self.channel = vim.api.nvim_open_term(self.buf, {
    on_input = function(_, _, _, data)
      self:input(data)
    end,
  })
  vim.bo[self.buf].filetype = "meanwhile-output"
end

--- Resizes the task's terminal to the current window, if that shows it: of several windows and editors that
--- show a task, the one in use decides. Does not start a daemon for this.
---@private
---@param looked boolean whether the person has just entered it: another window may have set the size
function Output:claim(looked)
  local task = self.workspace.tasks[self.id]
  local info = vim.fn.getwininfo(vim.api.nvim_get_current_win())[1]
  if info.bufnr ~= self.buf or not task or format.ended(task) then
    return
  end
  local rows, cols = math.max(1, info.height), math.max(1, info.width - info.textoff)
  seen = { rows = rows, cols = cols }
  if self.workspace.connection.state ~= "ready" then
    self.claimed = nil
    return
  elseif not looked and vim.deep_equal(self.claimed, seen) then
    return
  end
  self.claimed = seen
  -- Ignore errors: the task may have no terminal, and a daemon of version 0.1.0 has no such method.
  local params = { id = self.id, rows = rows, cols = cols }
  self.workspace:request("task/resize", params, function() end)
end

--- Sends the task what the person types in terminal mode, and the terminal's answers to its queries.
---@private
---@param data string
function Output:input(data)
  local task = self.workspace.tasks[self.id]
  if not task or format.ended(task) then
    return
  end
  local typed = vim.api.nvim_get_mode().mode == "t"
  local params = { id = self.id, data = data }
  self.workspace:request("task/write", params, function(err)
    if err and typed and not self.warned then
      self.warned = true
      vim.cmd.stopinsert()
      tell.warn(
        err.code == -32602 and "this task takes no input (it was started without a terminal)"
          or err.message
      )
    end
  end)
end

--- Reads earlier output, at least as much as is shown already.
---@private
function Output:earlier()
  if self.from == 0 and not self.skipped then
    return tell.info("this is all of it")
  end
  local tail = config.get().output.tail
  local shown = math.max(tail, self.next - self.from)
  local from = self.skipped and self.from or math.max(0, self.from - math.max(4 * tail, shown))
  local old, windows = self.buf, vim.fn.win_findbuf(self.buf)
  self:make()
  -- Move the windows to the new buffer before its terminal takes their size.
  for _, win in ipairs(windows) do
    vim.api.nvim_win_set_buf(win, self.buf)
    view.plain(win)
  end
  self:terminal()
  vim.api.nvim_buf_delete(old, { force = true })
  self:name()
  self:begin(from)
end

---@param deed string
function Output:do_(deed)
  local task = self.workspace.tasks[self.id]
  if task then
    actions.deeds[deed](self.workspace, task)
  end
end

---@private
function Output:map()
  view.map(self.buf, "Output", self, {
    { "o", "earlier", "read more of what came before" },
    { "x", "do_", "stop the task", "stop" },
    { "r", "do_", "run it again", "restart" },
    { "Q", "do_", "fill the quickfix list", "quickfix" },
    { "K", "do_", "show details", "details" },
  })
end

--- Writes the window's bar: the name and the state of the task.
---@private
function Output:bar()
  local task = self.workspace.tasks[self.id]
  if not task or not vim.api.nvim_buf_is_valid(self.buf) then
    return
  end
  view.bar(self.buf, ("%s · %s"):format(format.name(task), format.state(task)))
end

---@private
function Output:name()
  local task = self.workspace.tasks[self.id]
  view.name(self.buf, "meanwhile://output/" .. self.id)
  if task then
    vim.b[self.buf].term_title = format.name(task)
    -- For `gf` and `gF`: file names in output are relative to the directory of the command.
    vim.bo[self.buf].path = vim.fn.escape(task.cwd, "\\ ,") .. ",,"
  end
  self:bar()
end

--- Asks the daemon how much output there is, and starts with the end of it.
---@private
function Output:start()
  if self.reading then
    return
  end
  self.reading = true
  self.workspace:check(self.id, function(err, task)
    self.reading = false
    if not vim.api.nvim_buf_is_valid(self.buf) then
      return
    elseif err or not task then
      return err and self:write(note("[" .. err.message .. "]"))
    end
    self.begun = true
    self:name()
    self:begin(math.max(0, task.output.total - config.get().output.tail))
  end)
end

--- Follows the task until the buffer is wiped out.
---@private
---@param key string
function Output:follow(key)
  local workspace = self.workspace
  local offs = {
    workspace:on("output", function(push)
      self:pushed(push)
    end),
    workspace:on("tasks", function()
      self:bar()
    end),
    workspace:on("exited", function(task)
      if task.id == self.id and self.begun then
        self:catch_up()
      end
    end),
    workspace:on("ready", function()
      if not self.begun then
        self:start()
      elseif not self.ended then
        -- Subscribe again at the new daemon. The connection itself repeats a read that the old daemon did
        -- not answer.
        self:subscribe()
      end
      self:claim(false)
    end),
  }
  local sizes = vim.api.nvim_create_autocmd(
    { "WinEnter", "BufWinEnter", "WinResized", "FocusGained" },
    {
      callback = function(event)
        self:claim(event.event == "WinEnter" or event.event == "FocusGained")
      end,
    }
  )
  vim.api.nvim_create_autocmd("BufWipeout", {
    callback = function(event)
      if event.buf ~= self.buf then
        return
      end
      vim.api.nvim_del_autocmd(sizes)
      for _, off in ipairs(offs) do
        off()
      end
      if outputs[key] == self then
        outputs[key] = nil
      end
      -- Only if the daemon runs: a request would start it.
      if workspace.connection.state == "ready" then
        workspace:request("task/unsubscribe", { id = self.id }, function() end)
      end
      return true
    end,
  })
end

--- Opens the output of a task.
---@param workspace meanwhile.Workspace
---@param id string
---@param opts? { stay?: boolean, win?: integer } stay: keep the current window; win: show it there
function M.open(workspace, id, opts)
  local before = vim.api.nvim_get_current_win()
  local key = workspace.root .. " " .. id
  local self = outputs[key]
  if not self or not view.whole(self.buf) then
    self = setmetatable({
      workspace = workspace,
      id = id,
      pushed_to = 0,
      from = 0,
      next = 0,
    }, Output)
    self:make()
    self:name()
    outputs[key] = self
    self:follow(key)
  end
  local win = opts and opts.win
  if win then
    vim.api.nvim_win_set_buf(win, self.buf)
    view.plain(win)
  else
    win = view.show(self.buf, config.get().output.open)
  end
  self:bar()
  if not self.channel then
    vim.api.nvim_win_call(win, function()
      self:terminal()
    end)
    self:start()
  end
  self:claim(true)
  workspace.seen_failures = 0
  -- A cursor in the last line makes the window follow the output.
  vim.api.nvim_win_call(win, function()
    vim.cmd("normal! G0")
  end)
  if opts and opts.stay and vim.api.nvim_win_is_valid(before) then
    vim.api.nvim_set_current_win(before)
  end
end

--- Shows the output of a restarted task in the windows that show the output of the old one.
---@param workspace meanwhile.Workspace
---@param old string
---@param new string
function M.replace(workspace, old, new)
  local self = outputs[workspace.root .. " " .. old]
  for _, win in ipairs(self and vim.fn.win_findbuf(self.buf) or {}) do
    M.open(workspace, new, { win = win })
  end
end

return M
