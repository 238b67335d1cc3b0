"""What a module sends and receives with: beehive's operations, blocking and with asyncio."""
