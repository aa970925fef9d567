Set-StrictMode -Version 3.0

# What PowerShell takes itself, and the engine is not told of.
$script:Common = @([System.Management.Automation.Cmdlet]::CommonParameters
    [System.Management.Automation.Cmdlet]::OptionalCommonParameters
    'AsJob')

# Runs the cmdlet of the calling function: its parameters as JSON go to `cofferdam cmdlet`, whose lines are objects, errors and
# warnings.
function Invoke-Engine {
    param([System.Management.Automation.PSCmdlet] $Caller, [System.Collections.IDictionary] $Bound, [switch] $Changes)
    $name = $Caller.MyInvocation.MyCommand.Name
    $given = [ordered]@{}
    foreach ($key in $Bound.Keys) {
        if ($script:Common -contains $key) { continue }
        $value = $Bound[$key]
        if ($value -is [switch]) { $value = [bool] $value }
        if ($value -is [pscredential]) { $value = $value.UserName }
        $given[$key] = $value
    }
    if ($Changes -and $WhatIfPreference) {
        # The engine knows what wildcards stand for.
        $given['WhatIf'] = $true
    } elseif ($Changes) {
        $forced = $Bound.ContainsKey('Force') -and $Bound['Force'] -and -not $Bound.ContainsKey('Confirm')
        if (-not $forced -and -not $Caller.ShouldProcess((Get-Target $Bound $name))) { return }
    }
    if ($Bound.ContainsKey('AsJob') -and $Bound['AsJob'] -and -not $given.Contains('WhatIf')) {
        $arguments = @{}
        foreach ($key in $Bound.Keys) {
            if (@('AsJob', 'WhatIf', 'Confirm') -notcontains $key) { $arguments[$key] = $Bound[$key] }
        }
        if ($Changes) { $arguments['Confirm'] = $false }
        $module = Join-Path $PSScriptRoot 'Cofferdam.psd1'
        Start-ThreadJob -ArgumentList $module, $name, $arguments -ScriptBlock {
            param($Module, $Name, $Arguments)
            Import-Module -Name $Module
            & $Name @Arguments
        }
        return
    }
    # A failed cmdlet has an error among its lines.
    $PSNativeCommandUseErrorActionPreference = $false
    ConvertTo-Json -InputObject $given -Depth 6 -Compress |
        & cofferdam cmdlet $name --json - |
        ForEach-Object { Read-Line $_ $Caller }
    if ($LASTEXITCODE -gt 1) {
        throw "cofferdam cmdlet $name ended with the exit code $LASTEXITCODE."
    }
}

# What a change is about, for the question before it.
function Get-Target {
    param([System.Collections.IDictionary] $Bound, [string] $Otherwise)
    foreach ($key in 'ContainerName', 'Container', 'ContainerId', 'Name', 'Image', 'ComputeProcess', 'Id', 'Path') {
        if (-not $Bound.ContainsKey($key)) { continue }
        $names = foreach ($item in $Bound[$key]) {
            if ($item -is [string]) { $item } else { $item.Name }
        }
        return $names -join ', '
    }
    $Otherwise
}

# One line of the answer.
function Read-Line {
    param([string] $Line, [System.Management.Automation.PSCmdlet] $Caller)
    $answer = ConvertFrom-Json -InputObject $Line -Depth 16 -AsHashtable
    if ($answer.ContainsKey('Object')) {
        Convert-Object $answer['Object'] $answer['Type']
    } elseif ($answer.ContainsKey('Error')) {
        $failure = $answer['Error']
        $record = [System.Management.Automation.ErrorRecord]::new(
            [System.InvalidOperationException]::new($failure['Message']),
            $failure['Id'],
            [System.Management.Automation.ErrorCategory] $failure['Category'],
            $failure['Target'])
        if ($failure['Terminating']) { $Caller.ThrowTerminatingError($record) }
        $Caller.WriteError($record)
    } elseif ($answer.ContainsKey('Warning')) {
        $Caller.WriteWarning($answer['Warning'])
    } elseif ($answer.ContainsKey('Message')) {
        Write-Host $answer['Message']
    }
}

# An object of the engine, with its type's name.
function Convert-Object {
    param($Value, [string] $Type)
    if ($Value -isnot [System.Collections.IDictionary]) { return $Value }
    $properties = [ordered]@{ PSTypeName = "Cofferdam.$Type" }
    foreach ($key in $Value.Keys) {
        $item = $Value[$key]
        if ($key -eq 'Uptime' -and $item) { $item = [timespan] $item }
        if ($key -eq 'ParentImage' -and $item) { $item = Convert-Object $item 'ContainerImage' }
        $properties[$key] = $item
    }
    $object = [pscustomobject] $properties
    if ($Type -eq 'ContainerImage') {
        $text = "ContainerImage (Name = '$($Value['Name'])') [Publisher = '$($Value['Publisher'])', Version = '$($Value['Version'])']"
        $object | Add-Member -MemberType ScriptMethod -Name ToString -Force -Value { $text }.GetNewClosure()
    }
    $object
}

# The arguments of `cofferdam exec` for a session's parameters: the user, and the container.
function Get-Session {
    param([System.Collections.IDictionary] $Bound)
    if ($Bound.ContainsKey('RunAsAdministrator') -and $Bound['RunAsAdministrator']) { '--user', '0' }
    if ($Bound.ContainsKey('ContainerId')) { $Bound['ContainerId'] } else { $Bound['ContainerName'] }
}

# Names that begin with a word, quoted where they need it.
function Complete-Name {
    param([string] $Word, [string[]] $Names)
    $start = $Word.Trim("'", '"')
    foreach ($name in $Names) {
        if (-not $name.StartsWith($start, [System.StringComparison]::OrdinalIgnoreCase)) { continue }
        $text = if ($name -match '^[\w.:/-]+$') { $name } else { "'" + $name.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($text, $name, 'ParameterValue', $name)
    }
}
