# The module on a daemon that COFFERDAM_HOST names, with the image nanoserver; COFFERDAM_RUNTIME is the level to test.
# The end-to-end table runs this where there are pwsh and Pester.

BeforeAll {
    Import-Module (Join-Path $PSScriptRoot '..' 'Cofferdam.psd1') -Force
    $script:Runtime = if ($env:COFFERDAM_RUNTIME) { $env:COFFERDAM_RUNTIME } else { 'Default' }
    $script:Name = "pester-$Runtime-$PID"
}

AfterAll {
    Get-Container -Name "$Name*" | Remove-Container -Force
}

Describe 'Cofferdam' {
    It 'exports every function that its manifest names' {
        $manifest = Import-PowerShellDataFile (Join-Path $PSScriptRoot '..' 'Cofferdam.psd1')
        $exported = (Get-Module Cofferdam).ExportedFunctions.Keys | Sort-Object
        $exported | Should -Be ($manifest.FunctionsToExport | Sort-Object)
    }

    It 'leaves PowerShell its own cmdlets' {
        (Get-Command Get-Process).Source | Should -Be 'Microsoft.PowerShell.Management'
        (Get-Command Enter-PSSession).Source | Should -Be 'Microsoft.PowerShell.Core'
    }

    It 'makes a container, which has a type and the view of the documents' {
        $con = New-Container -Name $Name -ContainerImageName NanoServer -SwitchName 'Virtual Switch' -RuntimeType $Runtime
        $con.PSObject.TypeNames[0] | Should -Be 'Cofferdam.Container'
        $con.RuntimeType | Should -Be $Runtime
        $con.Uptime | Should -BeOfType [timespan]
        ($con | Format-Table | Out-String) | Should -Match 'Name\s+State\s+Uptime\s+ParentImageName'
    }

    It 'only says what it would do with -WhatIf' {
        Start-Container -Name "$Name*" -WhatIf
        (Get-Container -Name $Name).State | Should -Be 'Off'
    }

    It 'takes objects of a pipeline' {
        Get-Container -Name "$Name*" | Start-Container
        (Get-Container -Name $Name).State | Should -Be 'Running'
    }

    It 'runs a block in the container' {
        Invoke-ContainerCommand -ContainerName $Name { echo "$((6 * 7))" } | Should -Be '42'
        Invoke-ContainerCommand -ContainerId (Get-Container $Name).ContainerId -RunAsAdministrator { id -u } | Should -Be '0'
    }

    It 'hands on to PowerShell what is not about a container' {
        Import-Module (Join-Path $PSScriptRoot '..' 'Proxies.psm1') -Force
        Invoke-Command -ContainerName $Name { echo inside } | Should -Be 'inside'
        Invoke-Command { 6 * 7 } | Should -Be 42
        Invoke-Command -ScriptBlock { param($a) $a + 1 } -ArgumentList 41 | Should -Be 42
        Remove-Module Proxies
    }

    It 'runs in the background' {
        $job = Stop-Container -Name $Name -TurnOff -Passthru -AsJob
        $stopped = $job | Wait-Job -Timeout 120 | Receive-Job
        $stopped.State | Should -Be 'Off'
        $stopped.PSObject.TypeNames[0] | Should -Be 'Cofferdam.Container'
    }

    It 'gives errors as records' {
        { Get-Container -Name 'no-such-container' -ErrorAction Stop } | Should -Throw '*Cannot find a container*'
        Get-Container -Name 'no-such-container' -ErrorAction SilentlyContinue -ErrorVariable failed
        $failed[0].CategoryInfo.Category | Should -Be 'ObjectNotFound'
    }

    It 'completes names' {
        $line = "Start-Container -Name $($Name.Substring(0, $Name.Length - 1))"
        (TabExpansion2 $line $line.Length).CompletionMatches.CompletionText | Should -Contain $Name
    }

    It 'removes it' {
        Remove-Container -Name $Name -Force
        Get-Container -Name "$Name*" | Should -BeNullOrEmpty
    }
}
