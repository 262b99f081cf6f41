"""Who can be asked: other nodes, inference servers, language models, functions. One module for each way of speaking."""
