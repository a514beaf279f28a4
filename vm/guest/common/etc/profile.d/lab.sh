export PAGER=less
PS1='\u@\h:\w\$ '
