-- Which rooms a server has to do with.
CREATE INDEX memberships_server ON memberships (substr(user_id, instr(user_id, ':') + 1), room);
