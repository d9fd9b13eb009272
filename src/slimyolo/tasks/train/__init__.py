"""`slimyolo train`, `sparsify` and `finetune`."""
