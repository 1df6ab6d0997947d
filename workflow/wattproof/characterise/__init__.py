"""What the power channels of a GPU really sense: update period, window, delay, averaging.

A load is switched on and off by a known pattern (`pattern`, `loads`) while the real recorder reads
the GPU through the lanes of source ``nvml`` (`measure`); `updates` finds when values change and
`response` how they follow the load; `channel` puts both together, or refuses in words.
"""
