# The documents' own names for sessions, for whoever wants them: functions that hide PowerShell's Enter-PSSession and
# Invoke-Command, and hand on to those whatever is not about a container.
#
#     Import-Module Cofferdam
#     Import-Module (Join-Path (Get-Module Cofferdam).ModuleBase Proxies.psm1)
#     Enter-PSSession -ContainerId $con.ContainerId -RunAsAdministrator

Import-Module (Join-Path $PSScriptRoot 'Cofferdam.psd1')

# Whether one of the words is -ContainerId or -ContainerName, or short for it.
function Test-Container {
    param([object[]] $Words)
    foreach ($word in $Words) {
        if ($word -is [string] -and $word -match '^[-\u2013\u2014\u2015]Container') { return $true }
    }
    $false
}

function Enter-PSSession {
    if (Test-Container $args) { Cofferdam\Enter-ContainerSession @args }
    else { Microsoft.PowerShell.Core\Enter-PSSession @args }
}

function Invoke-Command {
    if (Test-Container $args) { Cofferdam\Invoke-ContainerCommand @args }
    elseif ($MyInvocation.ExpectingInput) { $input | Microsoft.PowerShell.Core\Invoke-Command @args }
    else { Microsoft.PowerShell.Core\Invoke-Command @args }
}

Export-ModuleMember -Function Enter-PSSession, Invoke-Command
