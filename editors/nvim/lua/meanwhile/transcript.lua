--- The transcript of a session: a list of items, built from `session/update` pushes. Pure.
---
--- Results of background tasks and notices are items of their own kinds, so that they never look as if a
--- person had typed them.

local format = require("meanwhile.format")

local M = {}

-- Neovim 0.12 renames `vim.diff` to `vim.text.diff`.
local diff = vim.text.diff or vim.diff

---@alias meanwhile.ItemKind "user"|"agent"|"thought"|"tool"|"background"|"notice"|"plan"|"fault"

---@class meanwhile.Item
---@field kind meanwhile.ItemKind
---@field text string
---@field id? string the id of the tool call
---@field title? string
---@field status? "pending"|"in_progress"|"completed"|"failed"
---@field tool? string the kind of the tool call
---@field task? string the id of the task that runs the command
---@field background? boolean whether the task runs in the background
---@field confined? string the kernel's confinement of the command: look or work
---@field call? integer the model call it belongs to
---@field cards? meanwhile.Card[] the results of a background message
---@field card? meanwhile.Card the result of a command that the agent waited for
---@field closed? boolean whether later chunks start a new item
---@field diffs? string[][] the lines of each change, as unified diffs
---@field entries? { content: string, status: string }[]
---@field stood? string the state of its task at the last rendering
---@field stale? boolean whether it must be rendered again

---@class meanwhile.Transcript
---@field items meanwhile.Item[]
---@field title? string
---@field usage? string
---@field private tools table<string, meanwhile.Item>
---@field private plan? meanwhile.Item
local Transcript = {}
Transcript.__index = Transcript

---@return meanwhile.Transcript
function M.new()
  return setmetatable({ items = {}, tools = {} }, Transcript)
end

---@param item meanwhile.Item
---@return meanwhile.Item
function Transcript:add(item)
  item.stale = true
  if item.kind == "user" then
    -- A later plan is a new item; that of the prompt before stays as it is.
    self.plan = nil
  end
  table.insert(self.items, item)
  return item
end

--- Returns a content block as text.
---@param content table?
---@return string
local function text_of(content)
  if not content then
    return ""
  elseif content.type == "text" then
    return content.text
  elseif content.type == "resource_link" then
    return ("[%s](%s)"):format(content.name or content.uri, content.uri)
  elseif content.type == "resource" and content.resource then
    return content.resource.text or content.resource.uri or ""
  end
  return "[" .. tostring(content.type) .. "]"
end

---@private
---@param kind meanwhile.ItemKind
---@param text string
---@param call? integer
function Transcript:chunk(kind, text, call)
  local last = self.items[#self.items]
  if last and last.kind == kind and last.call == call and not last.closed then
    last.text = last.text .. text
    last.stale = true
  else
    self:add({ kind = kind, text = text, call = call })
  end
end

--- The lines of a diff. Without `places`, `old` and `new` are excerpts, and the `@@` lines are left out.
---@param old string
---@param new string
---@param places boolean
---@return string[]
local function changed(old, new, places)
  local lines = vim.split(vim.trim(diff(old, new, { ctxlen = 1 }) --[[@as string]]), "\n")
  return vim.tbl_filter(function(line)
    return not line:find("^\\ No newline") and (places or not line:find("^@@"))
  end, lines)
end

--- The change of an edit in a loaded session, computed from the tool call's arguments.
---@param input any
---@return string[][]?
local function proposed(input)
  local new = type(input) == "table" and (input.new_string or input.content)
  return type(new) == "string" and { changed(input.old_string or "", new, false) } or nil
end

---@private
---@param update table
function Transcript:tool_call(update)
  local item = self.tools[update.toolCallId]
  if not item then
    item = self:add({ kind = "tool", text = "", id = update.toolCallId, status = "pending" })
    self.tools[update.toolCallId] = item
  end
  item.title = update.title or item.title
  item.status = update.status or item.status
  item.tool = update.kind or item.tool
  local ours = vim.tbl_get(update, "_meta", "meanwhile") or {}
  item.task = ours.taskId or item.task
  if ours.background ~= nil then
    item.background = ours.background
  end
  item.confined = ours.confined or item.confined
  item.card = ours.card or item.card
  item.diffs = item.diffs or proposed(update.rawInput)
  if update.content then
    local parts, diffs = {}, nil
    for _, content in ipairs(update.content) do
      if content.type == "terminal" then
        item.task = content.terminalId
      elseif content.type == "content" then
        table.insert(parts, text_of(content.content))
      elseif content.type == "diff" then
        diffs = diffs or {}
        table.insert(diffs, changed(content.oldText or "", content.newText or "", true))
      end
    end
    item.text = table.concat(parts, "\n")
    item.diffs = diffs or item.diffs
  end
  item.stale = true
end

--- Applies a `session/update` to the items.
---@param update table
function Transcript:apply(update)
  local kind = update.sessionUpdate
  local ours = vim.tbl_get(update, "_meta", "meanwhile") or {}
  if kind == "user_message_chunk" then
    if ours.origin == "background" then
      self:add({ kind = "background", text = ours.says or "", cards = ours.cards or {} })
    else
      local item = ours.origin and "notice" or "user" ---@type meanwhile.ItemKind
      self:chunk(item, ours.shown or text_of(update.content), ours.call)
    end
  elseif kind == "agent_message_chunk" then
    self:chunk("agent", text_of(update.content), ours.call)
  elseif kind == "agent_thought_chunk" then
    self:chunk("thought", text_of(update.content), ours.call)
  elseif kind == "tool_call" or kind == "tool_call_update" then
    self:tool_call(update)
  elseif kind == "plan" then
    self.plan = self.plan or self:add({ kind = "plan", text = "" })
    self.plan.entries, self.plan.stale = update.entries, true
  elseif kind == "usage_update" then
    self.usage = ours.says
  elseif kind == "session_info_update" then
    self.title = update.title or self.title
  end
end

--- Adds a prompt that was sent from here; the daemon does not send it back.
---@param text string
function Transcript:prompt(text)
  self:close()
  self:add({ kind = "user", text = text })
  self:close()
end

--- Closes the last item, so that the next chunk starts a new one.
function Transcript:close()
  local last = self.items[#self.items]
  if last then
    last.closed = true
  end
end

--- Removes the text and thoughts of a model call that is retried; everything else stays.
---@param call? integer
function Transcript:void(call)
  self.items = vim.tbl_filter(function(item)
    return item.kind ~= "agent" and item.kind ~= "thought" or item.call ~= call
  end, self.items)
end

---@param text string
function Transcript:fault(text)
  self:close()
  self:add({ kind = "fault", text = text })
end

--- The state of an item's task, as shown behind the title.
---@param item meanwhile.Item
---@param find fun(id: string): meanwhile.Task?
---@return string
local function standing(item, find)
  local task = item.task and find(item.task)
  if item.status == "pending" then
    return "  waits for permission"
  elseif item.background then
    return "  in the background" .. (task and ", " .. format.state(task) or "")
  elseif task and not format.ended(task) then
    return "  " .. format.duration(format.elapsed(task))
  end
  return item.card and "  " .. item.card.says or ""
end

--- Marks the items whose tasks have changed as stale.
---@param find fun(id: string): meanwhile.Task?
function Transcript:tasks_changed(find)
  for _, item in ipairs(self.items) do
    if item.task and item.stood ~= standing(item, find) then
      item.stale = true
    end
  end
end

local marks = { unicode = {}, ascii = {} }
for name, pair in pairs({
  pending = { "○", "o" },
  in_progress = { "●", "*" },
  completed = { "✓", "+" },
  failed = { "✗", "x" },
  bar = { "┃", "|" },
  top = { "┏", "|" },
  bottom = { "┗", "|" },
  line = { "━", "-" },
  head = { "▌", "#" },
  thought = { "┆", ":" },
}) do
  marks.unicode[name], marks.ascii[name] = pair[1], pair[2]
end

local status_groups = {
  pending = "MeanwhileStopped",
  in_progress = "MeanwhileRunning",
  completed = "MeanwhileOk",
  failed = "MeanwhileFailed",
}

--- How many lines of output a tool call shows at most.
local shown_lines = 6
--- How many lines of a change are shown at most.
local diff_lines = 16

--- Renders an item as lines and marks it as not stale. Pure, except for this mark and for `find`, which
--- looks up a task.
---@param item meanwhile.Item
---@param find fun(id: string): meanwhile.Task?
---@param icons "unicode"|"ascii"
---@param previous? meanwhile.Item
---@return string[] lines
---@return meanwhile.Span[] spans with line numbers from 0
function M.render(item, find, icons, previous)
  local set = marks[icons]
  item.stale, item.stood = false, standing(item, find)
  local lines, spans = {}, {}
  local function add(text, group, from, to)
    table.insert(lines, (text:gsub("[\n\r]", " ")))
    if group then
      table.insert(spans, { #lines - 1, from or 0, to or -1, group })
    end
  end
  local function body(text, prefix, group)
    for _, line in ipairs(vim.split(format.plain(text), "\n", { plain = true })) do
      if prefix ~= "" then
        add(prefix .. line, group, 0, #prefix)
        table.insert(spans, { #lines - 1, #prefix, -1, "MeanwhileOutput" })
      else
        add(line, group)
      end
    end
  end

  if item.kind == "user" or item.kind == "agent" then
    local you = item.kind == "user"
    add("", nil)
    add(set.head .. (you and " you" or " agent"), you and "MeanwhileYou" or "MeanwhileAgent")
    body(vim.trim(item.text), "")
  elseif item.kind == "thought" then
    add("", nil)
    for _, line in ipairs(vim.split(vim.trim(item.text), "\n", { plain = true })) do
      add(set.thought .. " " .. line, "MeanwhileThought")
    end
  elseif item.kind == "background" or item.kind == "notice" then
    local group = item.cards and "MeanwhileBackground" or "MeanwhileNotice"
    local heading = item.cards and item.text or "notice of meanwhile"
    local bar = "    " .. set.bar .. " "
    add("", nil)
    -- Indented by four columns, so that nothing in it is parsed as Markdown.
    add("    " .. set.top .. set.line .. " " .. heading, group)
    for _, card in ipairs(item.cards or {}) do
      local outcome = format.outcome({ shown = card })
      add(
        ("%s%s %s  %s  [bg:%s]"):format(
          bar,
          format.icon(outcome, icons),
          card.title,
          card.says,
          card.taskId
        ),
        format.highlight[outcome]
      )
      table.insert(spans, { #lines - 1, 0, #bar, group })
      for _, line in ipairs({ card.command or card.way, card.command and card.way }) do
        body("  " .. line, bar, group)
      end
      local out = vim.split(vim.trim(card.output), "\n", { plain = true })
      local first = math.max(1, #out - shown_lines + 1)
      if first > 1 then
        body(("  ... %d lines before"):format(first - 1), bar, group)
      end
      if card.output ~= "" then
        body("  " .. table.concat(out, "\n  ", first), bar, group)
      end
    end
    if not item.cards then
      body(vim.trim(item.text), bar, group)
    end
    add("    " .. set.bottom .. set.line, group)
  elseif item.kind == "tool" then
    local status = item.status or "pending"
    local task = item.task and find(item.task)
    local mark, group = set[status], status_groups[status]
    local outcome = item.background and task and item.status ~= "pending" and format.outcome(task)
      or item.card and format.outcome({ shown = item.card })
    if outcome then
      mark, group = format.icon(outcome, icons), format.highlight[outcome]
    end
    local title = format.one_line(item.title or item.tool or "a tool")
    if item.tool and item.tool ~= "execute" and item.tool ~= "other" then
      -- Shows `edit cart.py` if the title is only `cart.py`.
      title = vim.startswith(title:lower(), item.tool) and title or item.tool .. " " .. title
    end
    local head = "  " .. mark .. " "
    if not previous or previous.kind ~= "tool" then
      add("", nil)
    end
    local from = #head + #title
    local confined = item.confined and "  confined" or ""
    local rest = item.stood .. confined .. (item.task and "  " .. item.task or "")
    add(head .. title .. rest, group, 0, #head)
    table.insert(spans, { #lines - 1, #head, from, "MeanwhileTool" })
    table.insert(spans, { #lines - 1, from, -1, "MeanwhileDim" })
    -- The text of a command's result is written for the model; show the card's output instead.
    local text = vim.trim(item.background and "" or item.card and item.card.output or item.text)
    for _, change in ipairs(item.diffs or {}) do
      for i, line in ipairs(change) do
        if i > diff_lines then
          add(("    ... %d lines more"):format(#change - diff_lines), "MeanwhileDim")
          break
        end
        local sign = line:sub(1, 1)
        add(
          "    " .. line,
          sign == "+" and "MeanwhileAdded" or sign == "-" and "MeanwhileRemoved" or "MeanwhileDim"
        )
      end
    end
    if text ~= "" and not item.diffs then
      local out = vim.split(text, "\n", { plain = true })
      local first = math.max(1, #out - shown_lines + 1)
      if first > 1 then
        add(("    ... %d lines before"):format(first - 1), "MeanwhileDim")
      end
      for i = first, #out do
        body("    " .. out[i], "", "MeanwhileDim")
      end
    end
  elseif item.kind == "plan" then
    add("", nil)
    add("  plan", "MeanwhileTool")
    for _, entry in ipairs(item.entries or {}) do
      local mark = set[entry.status] or set.pending
      local head = "  " .. mark .. " "
      add(head .. format.one_line(entry.content), status_groups[entry.status], 0, #head)
    end
  else
    add("", nil)
    for _, line in ipairs(vim.split(item.text, "\n", { plain = true })) do
      add("  " .. set.failed .. " " .. line, "MeanwhileFailed")
    end
  end
  return lines, spans
end

return M
