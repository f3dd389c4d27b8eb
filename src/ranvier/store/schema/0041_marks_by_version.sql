-- What an event that another process appended means to those whose counts are in memory here.
CREATE INDEX unread_marks_version ON unread_marks (room, version);
