"""What the gateway can be told: keys and defaults, what contradicts itself, and a changed edge.yaml."""
