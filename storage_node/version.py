"""What the node calls itself, and which wire contract it speaks (docs/wire-contract.md)."""

SERVICE = "storage-node"
VERSION = "0.1.0"
CONTRACT = 1
