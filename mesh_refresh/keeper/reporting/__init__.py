"""What a keeper tells of itself: to observers in its process, and by the store to the other processes of its fleet."""
