--- Finds the `meanwhile` to start: that of the option `binary`, else the one beside the plugin, else that on
--- the PATH, else cargo's. Never starts a daemon and never installs anything.

local M = {}

--- The oldest daemon this plugin can talk to.
M.oldest = "0.1.0"

---@class meanwhile.Binary
---@field path string
---@field source string where it was found, for messages
---@field version? string

local install =
  "install it with `cargo install --locked --path crates/rpc` in a checkout of meanwhile"
local setting = "`vim.g.meanwhile = { binary = '/path/to/meanwhile' }`"

---@param path string
---@return boolean
local function executable(path)
  return vim.fn.executable(path) == 1
end

--- Finds the program, without running it.
---@param configured? string the option `binary`
---@return meanwhile.Binary?
---@return string? problem the reason, and how to fix it
function M.find(configured)
  if configured then
    local path = vim.fn.expand(configured) --[[@as string]]
    if executable(path) then
      return { path = vim.fn.exepath(path), source = "vim.g.meanwhile.binary" }
    end
    local what = vim.uv.fs_stat(path) and "is not executable" or "does not exist"
    return nil, ("`%s` %s: correct `vim.g.meanwhile.binary`, or leave it out"):format(path, what)
  end
  local file = debug.getinfo(1, "S").source:sub(2)
  local beside = vim.fs.joinpath(vim.fn.fnamemodify(file, ":p:h:h:h"), "bin", "meanwhile")
  if executable(beside) then
    return { path = beside, source = "beside the plugin" }
  elseif executable("meanwhile") then
    return { path = vim.fn.exepath("meanwhile"), source = "PATH" }
  end
  local cargo = vim.fs.joinpath(vim.env.CARGO_HOME or vim.fn.expand("~/.cargo"), "bin", "meanwhile")
  if executable(cargo) then
    return { path = cargo, source = "cargo's bin directory" }
  end
  return nil, ("no `meanwhile` on the PATH: %s, or set %s"):format(install, setting)
end

--- Checks the output of `--version`.
---@param path string
---@param out vim.SystemCompleted
---@return string? version
---@return string? problem the reason, and how to fix it
function M.judge(path, out)
  local version = (out.stdout or ""):match("^meanwhile (%d+%.%d+%.%d+%S*)")
  if not version then
    return nil, ("`%s --version` does not answer as meanwhile does: set %s"):format(path, setting)
  elseif vim.version.lt(version, M.oldest) then
    local what = ("`%s` is version %s, and this plugin needs %s or newer"):format(
      path,
      version,
      M.oldest
    )
    return nil, ("%s: %s, or set %s"):format(what, install, setting)
  end
  return version
end

--- Versions of programs by path and mtime, so that `--version` runs once for each.
---@type table<string, string>
local known = {}

--- Finds the program and asks for its version.
---@param configured? string
---@param done fun(binary?: meanwhile.Binary, problem?: string)
function M.resolve(configured, done)
  local binary, problem = M.find(configured)
  if not binary then
    return done(nil, problem)
  end
  local stat = vim.uv.fs_stat(binary.path)
  local key = ("%s %d"):format(binary.path, stat and stat.mtime.sec or 0)
  if known[key] then
    binary.version = known[key]
    return done(binary)
  end
  local ok, failure = pcall(
    vim.system,
    { binary.path, "--version" },
    { timeout = 10000, text = true },
    vim.schedule_wrap(function(out)
      local version, why = M.judge(binary.path, out)
      known[key] = version
      binary.version = version
      done(version and binary or nil, why)
    end)
  )
  if not ok then
    done(nil, ("`%s` cannot be executed (%s): set %s"):format(binary.path, failure, setting))
  end
end

return M
