# Installs the DashFleet agent on Windows, repairs an installation, or removes it. Run it in PowerShell as administrator:
#
#   & ([scriptblock]::Create((irm https://HOST/install.ps1))) --from https://HOST --server mqtts://HOST --ca-sha256 ...
#   & ([scriptblock]::Create((irm https://HOST/install.ps1))) --uninstall
#
# This script finds Python, downloads the agent's wheel and verifies it. The rest is in the wheel: `dashfleet agent
# install --help` lists the options. Everything is in a function that the last line calls.

function Install-DashFleet {
    param([string[]] $Words)
    $ErrorActionPreference = 'Stop'
    [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
    $identity = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    if (-not $identity.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw 'dashfleet: this needs an administrator: start PowerShell with "Run as administrator"'
    }
    $prefix = Join-Path $env:ProgramFiles 'DashFleet'
    if ($Words -contains '--uninstall') {
        $program = Join-Path $prefix 'current\Scripts\dashfleet.exe'
        if (-not (Test-Path $program)) { throw "dashfleet: there is no installation in ${prefix}: nothing to remove" }
        & $program agent uninstall @($Words | Where-Object { $_ -ne '--uninstall' })
        if (Test-Path $prefix) { Remove-Item -Recurse -Force $prefix }
        return
    }
    $place = [array]::IndexOf($Words, '--from')
    if ($place -lt 0) { throw 'dashfleet: --from is missing: copy the whole command from the dashboard' }
    $from = $Words[$place + 1].TrimEnd('/')
    $python = $null
    foreach ($candidate in @('py', 'python', 'python3')) {
        $test = 'import sys, venv, ssl; sys.exit(sys.version_info < (3, 11))'
        try { & $candidate -c $test 2>$null; if ($LASTEXITCODE -eq 0) { $python = $candidate; break } } catch { continue }
    }
    if (-not $python) { throw 'dashfleet: the agent needs Python 3.11 or newer: winget install Python.Python.3.12' }
    $scratch = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory -Path $scratch | Out-Null
    try {
        $path = '@AGENT_PATH@'
        $wheel = Join-Path $scratch ($path.Split('/')[-1])
        if ($from -match '^https?://') { Invoke-WebRequest -UseBasicParsing -Uri "$from/bundle/$path" -OutFile $wheel }
        else { Copy-Item (Join-Path $from $path) $wheel }
        if ((Get-FileHash -Algorithm SHA256 $wheel).Hash -ne '@AGENT_SHA256@') {
            throw "dashfleet: the wheel from $from does not have the expected SHA-256: nothing was installed"
        }
        $env:PYTHONPATH = $wheel
        & $python -m agent.installation.bootstrap --prefix $prefix --manifest-sha256 '@MANIFEST_SHA256@' @Words
        if ($LASTEXITCODE -ne 0) { throw "dashfleet: the installation ended with code $LASTEXITCODE" }
    }
    finally {
        Remove-Item Env:PYTHONPATH -ErrorAction SilentlyContinue
        Remove-Item -Recurse -Force $scratch
    }
}

Install-DashFleet $args
