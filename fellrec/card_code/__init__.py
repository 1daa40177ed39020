"""Programs that an exported card shows, word for word: torch, transformers, PEFT and safetensors, nothing of fellrec."""
