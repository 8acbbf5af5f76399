--- The options: `vim.g.meanwhile`, merged over the defaults.
---
--- Read at each use, so that a change applies at once and no setup function has to run. Only `setup()`
--- writes `vim.g.meanwhile`.

local M = {}

---@class meanwhile.Config: meanwhile.Opts
M.defaults = {
  binary = nil,
  env = {},
  root = nil,
  queue = "default",
  linger = nil,
  autostart = false,
  notify = true,
  notify_after = 10,
  progress = true,
  quickfix = false,
  errorformat = nil,
  terminal = true,
  icons = "unicode",
  list = { open = "botright 12split" },
  output = { open = "botright 15split", tail = 256 * 1024, scrollback = 100000 },
  timeline = { open = "botright 14split" },
  chat = { open = "botright vertical 80split" },
}

--- Types of options that do not follow from the defaults.
---@type table<string, string[]>
local kinds = {
  binary = { "string" },
  root = { "string", "function" },
  linger = { "number", "boolean" },
  notify = { "boolean", "function" },
  quickfix = { "boolean", "string" },
  errorformat = { "string" },
}

--- Returns what is wrong with the options, one phrase for each problem.
---@param opts any
---@return string[]
function M.problems(opts)
  local found = {}
  local function check(value, defaults, path)
    if type(value) ~= "table" then
      table.insert(found, ("`%s` is a %s, expected a table"):format(path, type(value)))
      return
    end
    for key, member in vim.spairs(value) do
      local name, default = path .. "." .. tostring(key), defaults[key]
      local allowed = defaults == M.defaults and kinds[key] or { type(default) }
      if allowed[1] == "nil" then
        table.insert(found, ("`%s` is not an option"):format(name))
      elseif type(default) == "table" and next(default) then
        check(member, default, name)
      elseif not vim.list_contains(allowed, type(member)) then
        local expected = table.concat(allowed, " or ")
        table.insert(found, ("`%s` is a %s, expected %s"):format(name, type(member), expected))
      end
    end
  end
  check(opts, M.defaults, "vim.g.meanwhile")
  if type(opts) == "table" then
    if
      type(opts.icons) == "string" and not vim.list_contains({ "unicode", "ascii" }, opts.icons)
    then
      table.insert(found, '`vim.g.meanwhile.icons` is neither "unicode" nor "ascii"')
    end
    if type(opts.quickfix) == "string" and opts.quickfix ~= "failed" then
      table.insert(found, '`vim.g.meanwhile.quickfix` is neither true, false nor "failed"')
    end
    if opts.linger == true then
      table.insert(found, "`vim.g.meanwhile.linger` is true, expected milliseconds or false")
    end
  end
  return found
end

--- The options as the person set them, unchecked.
---@return any
function M.given()
  local opts = vim.g.meanwhile
  if type(opts) == "function" then
    opts = opts()
  end
  return opts == nil and {} or opts
end

---@type string?
local told

--- The current options. For invalid ones the defaults apply, and a warning is shown once.
---@return meanwhile.Config
function M.get()
  local opts = M.given()
  local problems = M.problems(opts)
  if #problems > 0 then
    local text = table.concat(problems, "; ")
    if told ~= text then
      told = text
      vim.schedule(function()
        vim.notify("meanwhile: " .. text .. " (:help meanwhile-options)", vim.log.levels.WARN)
      end)
    end
    if type(opts) ~= "table" then
      return vim.deepcopy(M.defaults)
    end
    opts = vim.deepcopy(opts)
    for key, value in pairs(opts) do
      if #M.problems({ [key] = value }) > 0 then
        opts[key] = nil
      end
    end
  end
  return vim.tbl_deep_extend("force", M.defaults, opts)
end

--- Programs, and Neovim's compiler plugin for the output of each.
local compilers = { mvn = "maven" }
local own =
  "cargo eslint gcc ghc go javac jest mypy pylint pytest rspec rubocop ruff rustc shellcheck tsc zig"
for name in own:gmatch("%S+") do
  compilers[name] = name
end
for name in ("c++ clang++ g++ cc clang cmake gmake make ninja"):gmatch("%S+") do
  compilers[name] = "gcc"
end

---@type table<string, string>
local formats = {}

--- The 'errorformat' that a compiler plugin sets, followed by the global one.
---@param compiler string
---@return string
local function format_of(compiler)
  if not formats[compiler] then
    local buf = vim.api.nvim_create_buf(false, true)
    vim.api.nvim_buf_call(buf, function()
      vim.cmd("silent! compiler " .. compiler)
    end)
    formats[compiler] = vim.bo[buf].errorformat
    vim.api.nvim_buf_delete(buf, { force = true })
  end
  return formats[compiler] .. "," .. vim.go.errorformat
end

--- The 'errorformat' for a command: the option, else that of the first word that names a program with a
--- compiler plugin, else the global one. Independent of the current buffer.
---@param command string|string[]
---@return string
function M.errorformat(command)
  local given = M.get().errorformat
  if given then
    return given
  end
  local text = type(command) == "table" and table.concat(command, " ") or command --[[@as string]]
  for word in text:gmatch("[%w+._/-]+") do
    local compiler = compilers[vim.fs.basename(word)]
    if compiler then
      return format_of(compiler)
    end
  end
  return vim.go.errorformat
end

return M
