"""`pyworker run`: a worker in this process, with its model server beside it, or anew at each change."""
